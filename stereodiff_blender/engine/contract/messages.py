"""Error and warning codes in the artist's words: what happened, and what to do about it.

Standard library and the contract only, so that the panels, the command line and the tests read the same text.
"""

from __future__ import annotations

from dataclasses import dataclass

from .weights_messages import WEIGHTS_ERRORS

__all__ = ["explain"]


@dataclass(frozen=True)
class Explanation:
    """sentence: what happened. remedy: what to do now."""

    sentence: str
    remedy: str


_LIGHTER = "Choose the Draft preset, a smaller working size or a shorter frame range."

ERRORS = {
    "clip_missing": Explanation(
        "The clip's file is not where it was.",
        "Reload the clip or relink it to the file, then solve again."),
    "clip_unreadable": Explanation(
        "The file is not a movie or picture that can be read.",
        "Play it in another program to see whether it is damaged, or convert it to MP4 or to an image sequence."),
    "clip_empty": Explanation(
        "The clip's file is empty.",
        "Copy or export the footage again; the transfer was probably interrupted."),
    "clip_truncated": Explanation(
        "The footage ends before the last frame that was asked for.",
        "Shorten the frame range to the pictures that exist, or export the footage again."),
    "clip_too_short": Explanation(
        "A solve needs at least two frames.",
        "Choose a longer frame range."),
    "clip_too_small": Explanation(
        "The picture is too small to find anything in it.",
        "Use footage of at least 64 pixels on its shorter side; several hundred are better."),
    "picture_too_large": Explanation(
        "A picture has more pixels than are read.",
        "Scale the footage down, or if the computer has memory enough, raise Largest Picture under Advanced "
        "(--max-megapixels on the command line)."),
    "clip_window_moves": Explanation(
        "The EXR's data window moves from frame to frame, and Blender shows nothing but the data window.",
        "Write the plate with the full format as its bounding box, or solve it on the command line, which lays the "
        "data window into the format."),
    "color_space_unknown": Explanation(
        "The clip's color space is not known.",
        "Choose one that is in the list of the clip's Color Space (--color-space on the command line, with --ocio for "
        "a configuration of your own)."),
    "color_config_unreadable": Explanation(
        "The OpenColorIO configuration cannot be used.",
        "Correct the OCIO environment variable or remove it, or name a working configuration with --ocio."),
    "clip_frozen": Explanation(
        "All frames show the same picture.",
        "Choose a frame range in which the shot plays; a still has no depth to measure. If the plate is linear (EXR) "
        "and too dark or too bright to see anything, set Exposure."),
    "sequence_gap": Explanation(
        "A picture of the image sequence is missing.",
        "Render or copy the missing file, or choose a frame range without the gap."),
    "sequence_misnamed": Explanation(
        "The pictures' names do not give the frame where it is read.",
        "Rename the pictures so that the last digits of each name are its frame, from 0 up, such as shot_4k.1001.exr."),
    "frame_range_invalid": Explanation(
        "The frame range does not lie inside the clip.",
        "Set first and last frame to numbers the clip has: of a sequence those of its files, of a movie from 1 on."),
    "settings_invalid": Explanation(
        "A setting has a value that makes no sense.",
        "Correct the setting that is named, or go back to the presets."),
    "job_invalid": Explanation(
        "The job's description cannot be read by this version.",
        "Start the solve again; the job folder was changed or comes from another version."),
    "job_missing": Explanation(
        "This folder holds no job.",
        "Choose a folder that contains job.json, or start a new solve."),
    "job_locked": Explanation(
        "Another process is already working on this job.",
        "Wait for it to end, or cancel it in the Blender that started it; then press Resume."),
    "clip_changed": Explanation(
        "The footage changed while it was read.",
        "Let whatever writes the clip finish, then press Resume: the solve begins anew with the footage as it is."),
    "footage_changed": Explanation(
        "The footage is not the one that was solved.",
        "Solve it again, into another folder or with --overwrite; or tick Import Anyway if you know that the result "
        "fits."),
    "output_not_writable": Explanation(
        "The folder for the results cannot be written to.",
        "Choose another jobs folder in the preferences, or give yourself the right to write there."),
    "output_in_use": Explanation(
        "The folder for the results already holds something.",
        "Choose an empty or new folder, or allow an earlier result there to be overwritten."),
    "disk_silent": Explanation(
        "The disk with the job's folder does not answer.",
        "See whether the share or disk is connected, then try again."),
    "disk_full": Explanation(
        "There is not enough room on the disk.",
        "Free some space or choose a jobs folder on another disk. " + _LIGHTER),
    "out_of_memory": Explanation(
        "The computer ran out of memory.",
        "Close other programs. " + _LIGHTER),
    "download_failed": Explanation(
        "A download did not come through.",
        "Check the network and its proxy settings, then try again; what has come already is kept."),
    "runtime_missing": Explanation(
        "The engine is not installed yet.",
        "Install the engine in the preferences, or choose a Python there that has its packages."),
    "runtime_broken": Explanation(
        "The engine's installation is incomplete or does not start.",
        "Install the engine again in the preferences."),
    "torch_missing": Explanation(
        "This choice needs PyTorch, which the engine's installation does not have.",
        "Install the engine for learned engines in the preferences, or choose Geometric and Guided."),
    "device_unavailable": Explanation(
        "The chosen graphics device is not available.",
        "Choose Auto or CPU as device, or update the graphics driver."),
    "camera_unsolved": Explanation(
        "The camera's movement could not be found.",
        "Go by the reason. Where points are lost (a cut, a whip pan, blur, darkness), solve the frames before and "
        "after each by themselves. Where hardly any are found, choose frames with more texture. Where no two frames "
        "show parallax, choose a longer range, or enter the lens and its sensor width. Where much moves, give a matte "
        "of it."),
    "result_invalid": Explanation(
        "The result is incomplete or was changed.",
        "Solve again; do not move or rename files inside a job folder."),
    "worker_died": Explanation(
        "The engine stopped without saying why.",
        "Press Resume to go on where it stopped. If it stops again, open the log for the cause; if the system ended it "
        "for lack of memory: " + _LIGHTER),
    "cancelled": Explanation(
        "The solve was cancelled.",
        "What it had done is kept: press Resume to go on from there."),
    "internal_error": Explanation(
        "The engine met a fault of its own.",
        "Open the log and report what it says, together with the clip if you may share it."),
    "cut_in_range": Explanation(
        "There is a cut in the frame range.",
        "Choose one of the shots as the frame range, and solve each by itself."),
    "cameras_missing": Explanation(
        "The cameras that were to be used are not there.",
        "Choose the folder of the COLMAP model (it holds cameras.bin and images.bin, or .txt; often sparse/0), the "
        "clip's own solve or a camera again, or set Cameras to Solve."),
    "cameras_invalid": Explanation(
        "The cameras that were to be used make no sense.",
        "Correct what is named, or export the cameras again from the program that they are from."),
    "cameras_incomplete": Explanation(
        "Frames that are to be solved have no camera.",
        "Choose a frame range that has cameras from its first to its last frame, or register the missing pictures in "
        "the program that the cameras are from. Gaps of a few frames are interpolated."),
    "cameras_wrong_size": Explanation(
        "The cameras are of pictures of other proportions than the clip's.",
        "Use cameras that were solved on this clip, uncropped; half size or double size is fine."),
    "cameras_distorted": Explanation(
        "The cameras have lens distortion that is not followed.",
        "Let all pictures share one camera (COLMAP: ImageReader.single_camera) of a kind from SIMPLE_RADIAL to "
        "OPENCV_FISHEYE. Or undistort first: COLMAP's image_undistorter writes pictures and a model without "
        "distortion; choose both, the undistorted pictures as the clip and their model."),
    "cameras_do_not_fit": Explanation(
        "The cameras contradict the footage.",
        "Check that they are of this clip, that frame and camera belong together, and that the lens is right; or set "
        "Cameras to Solve."),
    "lens_file_missing": Explanation(
        "The lens file cannot be read.",
        "Choose a file that is there, or leave Lens File empty."),
    "lens_file_invalid": Explanation(
        "The lens file gives no lens.",
        "Choose a calibration of OpenCV's (camera_matrix and distortion_coefficients in YAML, JSON or XML), a "
        "cameras.txt of COLMAP's, or a redistort ST map (EXR, 32 bits, of the clip's size, without a hole)."),
    "lens_file_wrong_size": Explanation(
        "The lens file is for other pictures than this clip's.",
        "Choose the file that belongs to this camera mode; an ST map has the clip's own size. Of squeezed footage, "
        "check the pixel aspect of the clip."),
    "lens_not_followed": Explanation(
        "The lens does what the lens of a solve cannot follow.",
        "Undistort the plate with the program that the lens is from, and solve that; or turn off Known Lens and leave "
        "Lens File empty, and the shot itself tells the lens as far as it can."),
    "matte_missing": Explanation(
        "The matte is not there.",
        "Choose the mask or the footage again, or set Matte to None."),
    "matte_unreadable": Explanation(
        "The matte's footage cannot be read.",
        "Render it again, as PNG or EXR pictures or as a movie."),
    "matte_incomplete": Explanation(
        "The matte does not cover all the frames that are solved.",
        "Render the missing frames, set the start frame of the matte's footage, or solve fewer frames."),
    "matte_wrong_size": Explanation(
        "The matte has other proportions than the clip.",
        "Render it for the whole picture of this clip; half size or double size is fine."),
    "matte_full": Explanation(
        "The matte leaves nothing of the picture to find the camera by.",
        "White is what moves: switch Invert if it is the other way round, or mark less."),
    "matte_invalid": Explanation(
        "What is chosen cannot serve as a matte.",
        "Correct what is named, or render the mask to an image sequence and choose that."),
    "network_not_finite": Explanation(
        "The network gave no numbers for some frames.",
        "Download the weights again, as they may be damaged; if that does not help, choose CPU as device."),
    "pointmaps_unsure": Explanation(
        "No two frames could be matched with any confidence.",
        "Choose frames with more light and texture and less blur; if any clip fails so, download the weights again."),
    "import_missing": Explanation(
        "This scene holds no imported result.",
        "Import a finished job first, and keep its root, camera and mesh."),
    "better_import": Explanation(
        "A better import of this shot is in the scene and stays there.",
        "Click Import on this job to take its result all the same; scripts set replace_better."),
    "points_missing": Explanation(
        "There are not enough points to go by.",
        "Pick as many points on the mesh as are asked for, or select that many objects, vertices or tracks."),
    "points_unusable": Explanation(
        "The chosen points do not determine what is asked for.",
        "Choose points that are well apart; three points of a floor must not lie on one line."),
    "floor_not_found": Explanation(
        "No floor was found in the depth.",
        "Pick three points of the floor by hand, or choose frames that show more of it."),
    "depth_missing": Explanation(
        "The result has no depth or points to work with.",
        "Solve a shot whose camera travels; a turn on the spot gives no depth."),
    "lens_maps_missing": Explanation(
        "The result has no ST maps of its lens.",
        "A lens without distortion needs none. If the result is of an earlier version, solve the clip again."),
    "lens_camera_unsupported": Explanation(
        "This Blender has no camera that a shader can give a lens to.",
        "Use an official build of Blender 4.5 or later, with Cycles; or render through the solved camera, or the one "
        "with overscan, and lead the picture through Redistort CG."),
    "rolling_shutter_missing": Explanation(
        "The shot has no rolling shutter that Cycles could follow.",
        "Leave Rolling Shutter off."),
    "root_animated": Explanation(
        "The root is animated, so it would jump back on the next frame.",
        "Clear the root's keys, drivers and constraints, or parent it to an empty of yours and move that."),
    "tracks_unsolved": Explanation(
        "Blender could not solve the tracks that were written.",
        "Choose more tracks, or solve a shot with more parallax; the camera in the scene is not affected."),
    "exporter_missing": Explanation(
        "This Blender lacks the exporter for that format.",
        "Enable the format's add-on in the preferences, use an official build of Blender, or choose another format."),
    "dataset_missing": Explanation(
        "A part of the data set is not there.",
        "Unpack the data set as its own page lays it out, or choose the clips that are there with --clips."),
    "dataset_invalid": Explanation(
        "A file of the data set does not hold what it should.",
        "Download and unpack the file that is named again, or leave its clip out with --clips."),
    "job_folder_unsafe": Explanation(
        "The job folder holds a link, or something that is no plain file, where a job's own file should be.",
        "Delete what is named, or start the solve anew. If you put the link there to keep caches on another disk, set "
        "Cache Folder in the preferences instead, or --cache on the command line."),
    "job_folder_mixed": Explanation(
        "The folder is not this job's alone, so it was not deleted.",
        "Move what is named elsewhere and try again, or delete the folder yourself; without Also Delete Files the job "
        "only leaves the list."),
    "job_interrupted": Explanation(
        "The solve was interrupted: its engine is gone, or was never started.",
        "Press Resume to go on where it stopped."),
} | {code: Explanation(*words) for code, words in WEIGHTS_ERRORS.items()}

WARNINGS = {
    "rotation_only": Explanation(
        "No sideways move of the camera was measured: its rotation was solved, but no depth.",
        "Solve more frames, or move the camera sideways while filming; a turn on the spot shows no parallax. If the "
        "camera did travel, enter the lens: that tells a travel from a turn."),
    "static_camera": Explanation(
        "The camera does not move, so depth cannot be measured.",
        "Film with a camera that travels, even a little."),
    "low_coverage": Explanation(
        "Only a part of the picture could be measured; the rest is interpolated.",
        "Trust depth where the confidence picture is bright; more texture or a slower move helps."),
    "low_texture": Explanation(
        "There is little texture to follow.",
        "Check camera and depth by eye; footage with sharper detail gives a surer solve. Of a linear plate (EXR) that "
        "is too dark or too bright, Exposure brings it out."),
    "weak_focal": Explanation(
        "The shot says little about the focal length, or contradicts itself about it.",
        "Enter the lens in millimeters and the sensor width if you know them. If the lens is known, look for what a "
        "plain lens does not do: strong distortion of a wide or action camera, a zoom, a picture that was stabilized "
        "or reframed, much that moves."),
    "lens_doubtful": Explanation(
        "The lens that was given does not fit the shot.",
        "Check the focal length and, above all, the sensor width: a phone's 4 mm lens belongs to a sensor of some 6 "
        "mm. Or turn off Known Lens or Known Shutter, or empty Lens File, and the shot itself tells it."),
    "lens_distortion_ignored": Explanation(
        "The clip has lens distortion set, but MonST3R takes the lens as free of it.",
        "Solve with Geometric, which knows distortion; or undistort the footage first, and solve that plate."),
    "lens_distorts": Explanation(
        "The lens bends the picture.",
        "Nothing needs to be done for depth and mesh: they follow the lens. The camera is that of the undistorted "
        "plate, which is what its background shows; CG that goes over the plate as it was shot has to be distorted."),
    "lens_corners_cut": Explanation(
        "The lens shows more in the picture's corners than one plane can hold.",
        "Nothing needs to be done: depth there is filled from beside, and its confidence is 0. ST maps and the mesh's "
        "rays are right up to the corners."),
    "lens_zooms": Explanation(
        "The lens zooms during the shot.",
        "Nothing needs to be done: the camera's focal length is animated. Blender's own tracker knows only one lens, "
        "so tracks written for it are exact in the middle frame alone."),
    "rolling_shutter": Explanation(
        "The camera reads its rows one after the other (rolling shutter).",
        "Nothing needs to be done for depth, which is measured row by row, and for the mesh, which stays on the plate. "
        "The camera is that of each frame's middle row: what stands in the scene slips off the top and the bottom of "
        "the plate while the camera moves fast. Cycles can render the same shutter: Add Lens Camera sets it, with "
        "Rolling Shutter (Blender 4.5 or later)."),
    "rotation_doubtful": Explanation(
        "A camera that only turns does not explain all frames.",
        "Solve the frames that are named, and the others, each by themselves: the camera may travel in some of them."),
    "travel_doubtful": Explanation(
        "The camera may only turn, though a path was solved.",
        "If it stood on a tripod, do not use depth and path: give a matte of what moves, or focal length and sensor "
        "size, and solve again."),
    "turns_in_part": Explanation(
        "In a part of the shot the camera stops and only turns.",
        "Check camera and depth in the frames that are named: what comes into view there was never seen from two "
        "places."),
    "object_track": Explanation(
        "What was solved may be an object that turns before a camera that stands still.",
        "If so, the camera of the result circles the object: use it as the object's track, and do not trust depth of "
        "the background."),
    "interlaced": Explanation(
        "The footage is interlaced: each picture holds two moments.",
        "Deinterlace the footage and solve that; camera and depth of what moves fast are less exact."),
    "focal_assumed": Explanation(
        "The focal length could not be found and was assumed.",
        "Enter the lens in millimeters and the sensor width."),
    "large_motion": Explanation(
        "A large part of the picture moves by itself.",
        "Check depth on the moving things by eye; there it is plausible rather than measured. A matte of them makes "
        "the camera surer."),
    "little_parallax": Explanation(
        "The camera travels only a little, so far depth is uncertain.",
        "Use a longer frame range or a longer camera move."),
    "frames_unsolved": Explanation(
        "Some frames could not be solved; their camera is interpolated.",
        "Look at the frames that are named, or leave them out of the range. No depth is measured in them: they are "
        "given that of the nearest solved frame, with confidence 0."),
    "high_residual": Explanation(
        "The solved camera fits the footage only roughly.",
        "Check that objects stick to the picture; entering the lens or a shorter range may help. Strong lens "
        "distortion of a wide or action camera, a zoom, rolling shutter, or a stabilized or reframed picture cause "
        "this."),
    "scale_drift": Explanation(
        "The scale may slide along the shot.",
        "Check that what you place keeps its size against the footage from beginning to end. Where the camera turns on "
        "the spot, let it walk on while it turns; or solve what lies before and after the frames that are named each "
        "by itself, and set the scale of each."),
    "repeated_frames": Explanation(
        "Some frames repeat the picture before them.",
        "Nothing needs to be done: they share its camera and depth. Smooth motion needs the footage at its own rate."),
    "black_bars": Explanation(
        "The picture has black bars.",
        "Nothing needs to be done: there is no depth in the bars. The lens is taken to be centered in the whole "
        "frame."),
    "burnt_in_text": Explanation(
        "Something is written on the picture.",
        "Depth behind it is filled from what is around it; solve a clean version of the footage if there is one."),
    "flash_frames": Explanation(
        "In some frames the light is suddenly another.",
        "Check camera and depth in the frames that are named, or leave them out of the range."),
    "flickering_light": Explanation(
        "The light flickers.",
        "It was evened out for the solve. Flicker that runs through the picture in bands has to be removed before."),
    "refinement_apart": Explanation(
        "The refined depth does not agree with the solve.",
        "Choose Guided, or a lower noise level; if any clip fails so, download the weights again."),
    "cameras_doubtful": Explanation(
        "The given cameras fit the footage only roughly.",
        "Check that frame and camera belong together, that the lens is right and undistorted, and that a matte covers "
        "what moves by itself."),
    "exposure_chosen": Explanation(
        "The plate's light is far from what a screen shows, so it was brightened or darkened for the solve.",
        "Nothing needs to be done: the footage and its colors in the scene stay as they are. Set Exposure yourself if "
        "you want another."),
    "matte_empty": Explanation(
        "The matte marks nothing in the frames that were solved.",
        "Look whether the right mask or footage is chosen, and whether it needs Invert."),
}


def explain(code: str) -> Explanation:
    """Sentence and remedy of an error or warning code of the contract.

    Parameters
    ----------
    code : str
        One of ERROR_CODES or WARNING_CODES.

    Returns
    -------
    Explanation
        What happened, and what to do now.

    Raises
    ------
    KeyError
        Any other code.
    """
    return ERRORS[code] if code in ERRORS else WARNINGS[code]
