"""How the commands `keras-actrec …` of the documentation are tested."""

from __future__ import annotations

from tests.docs.entries import Entry, Foreign, ReadOnly, Run

TINY = "--weights random --image-size 32 --crop-size 16 --epochs 1 --batch-size 8"
SERVER = "runs until it is stopped; {} starts it, asks and stops it"
TRAIN = "keras-actrec train clips.csv --workdir runs/mine"
OWN_CLIP = {"clip.mp4": "videos/anna_01.mp4"}
"""Of clips.csv: its poses are at hand, so that nothing has to be found in the picture."""

JHMDB = {"NAME": "jhmdb", "DATA_ROOT": "/data/jhmdb"}

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
    "keras-actrec predict hour.mp4 --model runs/mine/export --window 3 --stride 1.5 "
    "--timeline-out timeline.csv timeline.png": Run(
        "--window 0.2 --stride 0.1 --skeleton poses/anna_01.json",
        needs=(TRAIN,),
        names={"hour.mp4": "videos/anna_01.mp4"},
        leaves=("timeline.csv", "timeline.png"),
        slow=True,
    ),
    "keras-actrec predict videos --model runs/mine/export --out explained": Run(
        "--skeleton poses", needs=(TRAIN,), leaves=("explained/predictions.csv",), slow=True
    ),
    "keras-actrec report runs/mine": Run(needs=(TRAIN,), leaves=("runs/mine/report.html",), slow=True),
    "keras-actrec benchmark clip.mp4 --model runs/mine/export": Run(
        "--skeleton poses/anna_01.json --repeats 1", needs=(TRAIN,), names=OWN_CLIP, prints="network", slow=True
    ),
    "keras-actrec export runs/mine --to onnx mine.onnx": Run(needs=(TRAIN,), leaves=("mine.onnx",), slow=True),
    "keras-actrec demo --model runs/mine/export": ReadOnly(SERVER.format("tests/test_demo.py")),
    "keras-actrec serve --model runs/mine/export": ReadOnly(SERVER.format("tests/serving")),
}

SERVING: dict[str, Entry] = {
    "tensorflow_model_server --rest_api_port=8501 --model_name=actrec --model_base_path=/srv/models/actrec": Foreign(
        "tensorflow_model_server", "a server of its own, in no package of Python"
    ),
    "keras-actrec export runs/mine --to tf-serving models": Run(
        needs=(TRAIN,), leaves=("models/actrec/1/saved_model.pb", "models/actrec/1/actrec.json"), prints="wrote", slow=True
    ),
    "keras-actrec export runs/mine --to onnx actrec.onnx": Run(
        needs=(TRAIN,), leaves=("actrec.onnx",), prints="wrote", slow=True
    ),
    "pip install 'keras_actrec[onnx]'": ReadOnly("downloads packages; .ci/run installs them all"),
}

DATA: dict[str, Entry] = {
    "keras-actrec datasets list": Run(prints="ntu_rgbd_120"),
    "keras-actrec datasets check NAME DATA_ROOT": Run(needs=("/data/jhmdb",), names=JHMDB, prints="split1"),
    "keras-actrec datasets csv NAME DATA_ROOT clips.csv": Run(needs=("/data/jhmdb",), names=JHMDB, leaves=("clips.csv",)),
    "keras-actrec poses videos --out poses": ReadOnly("made figures are no people; tests/cli/test_poses.py has real ones"),
}

WINDOWS = "--window 0.2 --stride 0.1"
"""Of a clip of half a second: of an option that is given twice the last counts."""
OF_TUTORIAL = {"runs/jhmdb/split1/export": "runs/mine/export", "clip.avi": "CLIP_rgb.avi"}

README_AND_TUTORIAL: dict[str, Entry] = {
    "keras-actrec predict an_hour.mp4 --model runs/mine/export --window 3 --stride 1.5": Run(
        f"{WINDOWS} --skeleton poses/anna_01.json", needs=(TRAIN,), names={"an_hour.mp4": "videos/anna_01.mp4"}, slow=True
    ),
    "keras-actrec predict camera:0 --model runs/mine/export": ReadOnly("needs a camera; tests/video/test_camera.py makes one"),
    "keras-actrec datasets csv jhmdb /data/jhmdb jhmdb.csv": Run(needs=("/data/jhmdb",), leaves=("jhmdb.csv",)),
    "keras-actrec train jhmdb.csv --workdir runs/jhmdb --protocol split1 split2 split3 --weights resnet50.weights.h5 "
    "--image-size 112 --workers 2": ReadOnly("needs JHMDB's videos of real people, and hours; quickstart.md's training is run"),
    "keras-actrec predict clip.avi --model runs/jhmdb/split1/export --out explained.mp4": Run(
        "--skeleton CLIP.skeleton", needs=("runs/mine", "clip.mp4"), names=OF_TUTORIAL, leaves=("explained.mp4",), slow=True
    ),
    "keras-actrec predict clip.avi --model runs/jhmdb/split1/export --window 1.5 --stride 0.5": Run(
        f"{WINDOWS} --skeleton CLIP.skeleton", needs=("runs/mine", "clip.mp4"), names=OF_TUTORIAL, slow=True
    ),
    "keras-actrec demo --model runs/jhmdb/split1/export": ReadOnly(SERVER.format("tests/test_demo.py")),
}

COMMANDS: dict[str, Entry] = {**QUICKSTART, **SERVING, **DATA, **README_AND_TUTORIAL}
