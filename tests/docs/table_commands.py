"""How the commands `keras-actrec …` of the documentation are tested."""

from __future__ import annotations

from tests.docs.entries import Entry, Foreign, ReadOnly, Run

TINY = "--weights random --image-size 32 --crop-size 16 --epochs 1 --batch-size 8"
SERVER = "runs until it is stopped; {} starts it, asks and stops it"
TRAIN = "keras-actrec train clips.csv --workdir runs/mine"
OWN_CLIP = {"clip.mp4": "videos/anna_01.mp4"}
"""Of clips.csv: its poses are at hand, so that nothing has to be found in the picture."""

QUICKSTART: dict[str, Entry] = {
    "pip install -e '.[pose,demo]' -c requirements.txt": ReadOnly("downloads packages; .ci/run installs them all"),
    "keras-actrec --version": Run(prints="keras_actrec "),
    "keras-actrec predict $DATA/nturgb+d_rgb/S002C001P003R001A001_rgb.avi --model runs/ntu_pose_rgb/export "
    "--skeleton $DATA/nturgb+d_skeletons/S002C001P003R001A001.skeleton --out explained.mp4": Run(
        needs=("runs/ntu_pose_rgb",), leaves=("explained.mp4",), prints="%", slow=True
    ),
    TRAIN: Run(TINY, needs=("clips.csv",), leaves=("runs/mine/report.html", "runs/mine/export/actrec.json"), slow=True),
    "keras-actrec predict clip.mp4 --model runs/mine/export --out explained.mp4": Run(
        "--skeleton poses/anna_01.json", needs=(TRAIN,), names=OWN_CLIP, leaves=("explained.mp4",), prints="%", slow=True
    ),
    "keras-actrec demo --model runs/mine/export": ReadOnly(SERVER.format("tests/test_demo.py")),
    "keras-actrec serve --model runs/mine/export": ReadOnly(SERVER.format("tests/serving")),
}

SERVING: dict[str, Entry] = {
    "tensorflow_model_server --rest_api_port=8501 --model_name=actrec --model_base_path=/srv/models/actrec": Foreign(
        "tensorflow_model_server", "a server of its own, in no package of Python"
    ),
    "pip install 'keras_actrec[onnx]'": ReadOnly("downloads packages; .ci/run installs them all"),
}

COMMANDS: dict[str, Entry] = {**QUICKSTART, **SERVING}
