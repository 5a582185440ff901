"""The Blender half of `build.py demo`: what an artist does, by script, in a Blender whose user folder is thrown away.

Runs with BLENDER_USER_RESOURCES set. Exit status 0: OUT holds demo.blend, mesh.png, camera.png, depth.png and the job.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import time
from pathlib import Path
from types import ModuleType

import bpy
import numpy as np
from mathutils import Matrix

EXTENSION = "bl_ext.user_default.stereodiff"
RENDER_WIDTH_PX = 960
SAMPLES = 24
ASIDE_DEG, ABOVE_DEG = 16.0, 9.0
LINE_EVERY_S = 5.0


class DemoError(Exception):
    """Why there is nothing to show; a sentence or two."""


def part(name: str) -> ModuleType:
    """A module of the installed extension."""
    return importlib.import_module(f"{EXTENSION}.stereodiff_blender.{name}")


# --- An artist's Blender ---------------------------------------------------------------------------------------

def open_new_file(path: Path) -> None:
    """Blender's own start file without its cube, camera and lamp, saved, so that paths in it can be relative."""
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    for thing in list(bpy.data.objects):
        bpy.data.objects.remove(thing)
    bpy.context.preferences.filepaths.save_version = 0
    save(path)


def install(package: Path) -> None:
    """The operator reports FINISHED also for a package it refuses, so the list of add-ons is asked."""
    bpy.ops.extensions.package_install_files(filepath=str(package), repo="user_default", enable_on_install=True)
    if EXTENSION not in bpy.context.preferences.addons:
        raise DemoError(f"Blender did not install {package.name}")


def set_preferences(worker: Path, jobs_folder: Path) -> None:
    preferences = bpy.context.preferences.addons[EXTENSION].preferences
    preferences.runtime_python = str(worker)
    preferences.jobs_folder = str(jobs_folder)


def open_clip(path: Path) -> bpy.types.MovieClip:
    try:
        clip = bpy.data.movieclips.load(str(path))
    except RuntimeError as error:
        raise DemoError(str(error)) from error
    bpy.context.scene.stereodiff.clip = clip
    return clip


def save(path: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(path), check_existing=False)


# --- Solve -----------------------------------------------------------------------------------------------------

def solve() -> Path:
    """Press the button and follow the job to its end. Returns its folder. Raises DemoError with the remedy."""
    scene = bpy.context.scene
    known = {job.job_id for job in scene.stereodiff.jobs}
    try:
        bpy.ops.stereodiff.solve(wait=False)
    except RuntimeError as error:
        raise DemoError(str(error)) from error
    item = next(job for job in scene.stereodiff.jobs if job.job_id not in known)
    view = follow(item.job_id)
    if view.status.state != "finished":
        raise DemoError(f"{explained(view.status.code, view.status.message)}\nLog: {Path(item.folder) / 'worker.log'}")
    if view.import_problem is not None:
        raise DemoError(explained(view.import_problem.code, view.import_problem.message))
    return Path(item.folder)


def follow(job_id: str):
    """Do what Blender's timer does until the job has ended; returns the session's view of it."""
    session, line = part("session.session").current(), ProgressLine()
    while True:
        session.tick()
        view = session.status().jobs[job_id]
        line.show(view.status)
        if view.status.has_ended:
            line.close()
            return view
        time.sleep(0.1)


def explained(code: str | None, message: str | None) -> str:
    explanation = part("engine.contract.messages").explain(code or "internal_error")
    return f"{explanation.sentence} {message or ''}\n{explanation.remedy}"


class ProgressLine:
    """One line that is written over on a terminal; elsewhere a new line for a new stage and every few seconds."""

    def __init__(self) -> None:
        self._over = "\r" if sys.stdout.isatty() else "\n"
        self._labels = part("engine.contract").STAGE_LABELS
        self._stage: str | None = None
        self._shown_s = -LINE_EVERY_S

    def show(self, status) -> None:
        now_s = time.monotonic()
        pause_s = 0.2 if self._over == "\r" else LINE_EVERY_S
        if status.stage is None or (status.stage == self._stage and now_s - self._shown_s < pause_s):
            return
        self._stage, self._shown_s = status.stage, now_s
        left = f", about {status.eta_s:.0f} s left" if status.eta_s is not None else ""
        label = self._labels.get(status.stage, status.stage)
        text = f"  {100 * status.fraction:3.0f} %  {label}, {status.done} of {status.total}{left}"
        print(f"{text:<78}", end=self._over, flush=True)

    def close(self) -> None:
        if self._over == "\r":
            print(flush=True)


# --- Look at it ------------------------------------------------------------------------------------------------

def show_through_camera() -> None:
    """Every 3D view of the file looks through the solved camera and shows materials."""
    for area in (area for screen in bpy.data.screens for area in screen.areas if area.type == "VIEW_3D"):
        space = area.spaces.active
        space.region_3d.view_perspective = "CAMERA"
        space.shading.type = "MATERIAL"


def prepare_render(scene: bpy.types.Scene, frame: int) -> None:
    scene.frame_set(frame)
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", SAMPLES, False
    if hasattr(scene.render, "compositor_device"):
        scene.render.compositor_device = "CPU"
    scene.render.resolution_percentage = min(100, math.ceil(100 * RENDER_WIDTH_PX / scene.render.resolution_x))
    if hasattr(scene.render.image_settings, "media_type"):
        scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format = "PNG"


def render(scene: bpy.types.Scene, path: Path, *, composite: bool, view_transform: str = "Standard") -> None:
    scene.view_settings.view_transform = view_transform
    scene.render.use_compositing = composite
    for layer in scene.view_layers:
        layer.use = not composite
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    if not path.is_file():
        raise DemoError(f"Blender rendered no {path.name}")


def add_camera_aside(scene: bpy.types.Scene, mesh: bpy.types.Object) -> bpy.types.Object:
    """A camera beside and above the solved one that looks at the middle of what that one sees."""
    solved = scene.camera
    distance = middle_depth(mesh)
    pivot = Matrix.Translation((0, 0, -distance))
    turn = Matrix.Rotation(math.radians(ASIDE_DEG), 4, "Y") @ Matrix.Rotation(math.radians(-ABOVE_DEG), 4, "X")
    aside = bpy.data.objects.new("Aside", solved.data.copy())
    aside.data.animation_data_clear()
    scene.collection.objects.link(aside)
    aside.matrix_world = solved.matrix_world @ pivot @ turn @ pivot.inverted()
    return aside


def middle_depth(mesh: bpy.types.Object) -> float:
    """Median distance of the displaced mesh in front of the camera whose child it is."""
    evaluated = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    displaced = evaluated.to_mesh()
    positions = np.empty(3 * len(displaced.vertices), np.float32)
    displaced.vertices.foreach_get("co", positions)
    evaluated.to_mesh_clear()
    return float(np.median(-positions[2::3]))


def render_pictures(imported, out: Path) -> list[Path]:
    """The mesh from aside, the mesh through the solved camera, and the compositor's depth, at the middle frame."""
    scene, solved = bpy.context.scene, imported.camera
    prepare_render(scene, int(imported.shot.scene_frames[imported.shot.frame_count // 2]))
    pictures = [out / name for name in ("mesh.png", "camera.png", "depth.png")]
    scene.camera = add_camera_aside(scene, imported.mesh)
    render(scene, pictures[0], composite=False)
    scene.camera = solved
    render(scene, pictures[1], composite=False)
    part("scene").add_depth_pass(scene, imported, connect=True)
    render(scene, pictures[2], composite=True, view_transform="Raw")
    return pictures


# --- Say it in words -------------------------------------------------------------------------------------------

def quality_sentences(result) -> list[str]:
    """The trust report; what does not apply to the shot is left out."""
    q, count = result.plate_quality, len(result.frames)
    said = [f"The camera is {result.camera_kind}; {100 * q.solved_share:.0f} % of {count} frames were solved."]
    if q.unsolved_frames:
        said.append(f"Interpolated frames: {', '.join(map(str, q.unsolved_frames))}.")
    if q.reprojection_mean_px is not None:
        said.append(f"Tracked points lie {q.reprojection_mean_px:.2f} px off on average, "
                    f"{q.reprojection_worst_px:.2f} px in the worst frame.")
    if q.parallax_deg is not None:
        said.append(f"They are seen under {q.parallax_deg:.1f} degrees of parallax (median).")
    if q.coverage is not None:
        said.append(f"Depth is measured and trusted in {100 * q.coverage:.0f} % of the picture.")
    if q.moving_share is not None:
        said.append(f"{100 * q.moving_share:.1f} % of the picture moves by itself.")
    if q.flicker_before is not None and q.flicker_after is not None:
        said.append(f"Flicker of static depth: {q.flicker_before:.3f} % before refinement, "
                    f"{q.flicker_after:.3f} % after.")
    if q.gauge_residual is not None:
        said.append(f"Refined depth differs from measured depth by {100 * q.gauge_residual:.2f} % (median).")
    return said + [f"Note: {warning.message}" for warning in result.warnings]


def tell(result, job: Path, files: list[Path]) -> None:
    print("\nQuality")
    print("\n".join(f"  {sentence}" for sentence in quality_sentences(result)))
    print("\nFiles")
    meanings = {"demo.blend": "the scene: press space to play", "mesh.png": "the displaced mesh, seen from aside",
                "camera.png": "the mesh through the solved camera", "depth.png": "the compositor's depth, near white"}
    for path in files:
        print(f"  {path}   {meanings[path.name]}")
    print(f"  {job}   the job: depth/*.exr, confidence, motion mask, preview, result.json")


def demo(options: argparse.Namespace) -> None:
    blend = options.out / "demo.blend"
    open_new_file(blend)
    install(options.package)
    set_preferences(options.worker, options.out / "jobs")
    clip = open_clip(options.clip)
    print(f"\nBlender {bpy.app.version_string} solves {options.clip}, {clip.size[0]}x{clip.size[1]}, "
          f"{clip.frame_duration} frames", flush=True)
    job = solve()
    if bpy.context.scene.camera is None:
        raise DemoError(f"the finished job in {job} was not imported")
    imported = part("scene").import_result(bpy.context.scene, job, clip=clip)
    files = [blend]
    if imported.mesh is not None:
        part("scene").add_depth_pass(bpy.context.scene, imported)
    show_through_camera()
    save(blend)
    if imported.mesh is not None:
        print("\nRendering", flush=True)
        files += render_pictures(imported, options.out)
    tell(imported.result, job, files)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("package", "clip", "out", "worker"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    try:
        demo(options)
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    finally:
        if EXTENSION in bpy.context.preferences.addons:
            bpy.ops.preferences.addon_disable(module=EXTENSION)
    return 0


if __name__ == "__main__":
    sys.exit(main())
