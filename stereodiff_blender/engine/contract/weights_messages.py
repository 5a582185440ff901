"""The words for codes about weights, as files and on their way: what happened, and what to do about it.

Standard library only. messages.explain() hands them on with all the others.
"""

from __future__ import annotations

WEIGHTS_ERRORS = {
    "weights_missing": (
        "The model's weights are not there.",
        "Put the model's published files into the folder that is named, or get them in the preferences, by Download or "
        "Use Folder."),
    "weights_damaged": (
        "The file with the model's weights is damaged or was not downloaded completely.",
        "Download the model again in the preferences, or delete the file and get it again from the model's page."),
    "weights_wrong_model": (
        "The file holds the weights of another model.",
        "Download the files that the model's page names, and keep those of each model in a folder of their own."),
    "weights_refused": (
        "The file holds more than weights, so it was not opened.",
        "Do not use it: such a file can run programs. Download the weights from the model's own page."),
    "weights_not_writable": (
        "The weights have to be converted once, but their folder cannot be written to.",
        "Give yourself the right to write there, or put model.safetensors there instead of the .pth file."),
    "licence_not_accepted": (
        "The license of these weights has not been accepted.",
        "Read it in the preferences beside the model and accept it there, or choose engines that need no weights; on "
        "the command line add --accept-licence."),
    "model_card_invalid": (
        "The extension has no usable description of this model.",
        "Check the model's name; if it is one of the extension's, install the extension again."),
    "model_record_invalid": (
        "What is known of the model's files cannot be read.",
        "Delete the file that is named, then verify the model in the preferences."),
    "model_folder_outside": (
        "The model's folder leads out of the models folder, so nothing in it was deleted.",
        "Delete the files there yourself if nobody needs them."),
    "download_offline": (
        "The server for the weights cannot be reached.",
        "Check the connection, the proxy and, if one is set, the mirror in HF_ENDPOINT; or choose Use Folder for files "
        "that came another way."),
    "download_address_invalid": (
        "The address of the server, or of a proxy on the way to it, cannot be used.",
        "Look at HF_ENDPOINT and at the proxies that are set (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY): each has to begin "
        "with http:// or https:// and to name a host; if none is set, whoever runs the network sends you astray."),
    "download_denied": (
        "The server does not give these weights to everybody.",
        "Open the model's page, sign in and accept its terms there, make an access token, set it as HF_TOKEN for "
        "Blender, and download again."),
    "download_not_found": (
        "The server does not have the file.",
        "Look for a newer version of this extension, or get the files from the model's page and choose Use Folder."),
    "download_interrupted": (
        "The download broke off.",
        "Download again: it goes on where it stopped."),
    "download_wrong_file": (
        "What arrived is not the file that was promised, so it was thrown away.",
        "Download again; if it happens twice, ask whoever runs the mirror or the proxy, and do not use files from it."),
    "download_running": (
        "This model is being downloaded already.",
        "Wait until that has ended, or cancel it in the Blender that does it."),
    "models_disk_full": (
        "There is not enough room for the weights.",
        "Free some space, or choose a models folder on another disk in the preferences, and download again."),
    "models_folder_not_writable": (
        "The models folder cannot be written to.",
        "Choose another models folder in the preferences, or give yourself the right to write there."),
}
"""Sentence and remedy by code."""
