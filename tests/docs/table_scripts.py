"""How the commands of scripts (preprocessing/, experiments/, benchmarks/) and of the installation are tested."""

from __future__ import annotations

from tests.docs.entries import Entry, Foreign, ReadOnly, Run

WEIGHTS = "needs published weights, which cannot be had here; tests/convert reads generated ones"
MACHINES = "needs machines of a cluster; tests/extraction and tests/recipes run several processes of one"

POSE = "--epochs 1 --batch-size 16"
ONE_FOLD = "--protocol fold1"
TWO_STREAM = "--sensor resnet50 --sensor-weights random --image-size 32 --crop-size 25 --epochs 1 1 --strategy none"
VPN = "--epochs 1 --frames 16 --poses 4 --image-size 64 --crop-size 64 --batch-size 8 --holdout 0.2 --strategy none"
GLIMPSE = (
    "--backbone-weights random --epochs 1 --frames 2 --image-size 64 --crop-size 72 --views 1 --training-views 1 "
    "--batch-size 8 --holdout 0.2 --strategy none"
)
RPAN = "--epochs 1 --frames 2 --height 64 --width 64 --training-views 1 --batch-size 4 --holdout 0.2 --strategy none"
RANDOM = "--backbone-weights random"

POSES_OF_NTU = (
    "python preprocessing/extract_poses.py --dataset ntu_rgbd --data-root /data/ntu --cache /fast/cache/poses --workers 8"
)
POSES_OF_JHMDB = (
    "python preprocessing/extract_poses.py --dataset jhmdb --data-root /data/jhmdb --cache /fast/cache/poses --workers 8"
)
FLOW = (
    "python preprocessing/extract_flow.py --dataset jhmdb --data-root /data/jhmdb --poses /fast/cache/poses "
    "--cache /fast/cache/flow --workers 8"
)
PEOPLE = (
    "python preprocessing/extract_person_clips.py --dataset ntu_rgbd --data-root /data/ntu --poses /fast/cache/poses "
    "--cache /fast/cache/person_clips --workers 8"
)
RESCALED = "python preprocessing/rescale_videos.py --source /data/ntu --target /data/ntu_256 --link-others --workers 8"
FAST_RESCALED = "python preprocessing/rescale_videos.py --source /data/ntu --target /fast/ntu_256 --link-others --workers 8"
JHMDB_POSES = "python preprocessing/extract_poses.py --dataset jhmdb --data-root /data/jhmdb --cache cache/poses --people 1"
JHMDB_FLOW = (
    "python preprocessing/extract_flow.py --dataset jhmdb --data-root /data/jhmdb --poses cache/poses --cache cache/flow"
)
JHMDB_CUBES = (
    "python preprocessing/extract_frame_cubes.py --dataset jhmdb --data-root /data/jhmdb --poses cache/poses "
    "--cache cache/cubes --backbone resnet50 --backbone-weights resnet50.weights.h5"
)
MAIN_JOB = "python experiments/ntu_pose_rgb.py --data-root /data/ntu --workdir runs/cs --cache-dir /fast/cache --workers 2"
NTU_VPN = "python experiments/ntu_vpn.py --data-root /data/ntu --backbone-weights i3d_rgb.weights.h5"
NTU_GLIMPSE = "python experiments/ntu_glimpse_clouds.py --data-root /data/ntu"
CONVERT_I3D = "python preprocessing/convert_i3d_checkpoint.py"
CONVERT_TSN = "python preprocessing/convert_tsn_checkpoint.py models/ucf101_split_1_tsn"

INSTALLATION: dict[str, Entry] = {
    "python3 -m venv .venv": Run(more="--without-pip", leaves=(".venv/bin/activate",)),
    ". .venv/bin/activate": Run(needs=("python3 -m venv .venv",)),
    "pip install -e . -c requirements.txt": ReadOnly("downloads packages; .ci/run installs in a new environment"),
    "pip install -e '.[test]' -c requirements.txt": ReadOnly("downloads packages; .ci/run does it in a new environment"),
    "python -m pytest": Run("--collect-only -q -n 0 tests/test_scripts_module.py", prints="tests collected"),
}

MAIN: dict[str, Entry] = {
    "python experiments/ntu_pose_rgb.py": Run(TWO_STREAM, leaves=("runs/ntu_pose_rgb/metrics.json",), slow=True),
    "python preprocessing/check_dataset.py /data/ntu": Run(needs=("/data/ntu",), prints="cross_subject: 18 train, 18 test"),
    MAIN_JOB: Run(
        TWO_STREAM, needs=("/data/ntu",), leaves=("runs/cs/metrics.json", "runs/cs/export", "/fast/cache/poses"), slow=True
    ),
    "python experiments/ntu_pose_rgb.py --data-root /data/ntu --workdir runs/cv --cache-dir /fast/cache "
    "--protocol cross_view": Run(TWO_STREAM, needs=(MAIN_JOB,), leaves=("runs/cv/metrics.json",), slow=True),
    "python preprocessing/extract_poses.py --help": Run(prints="usage: extract_poses.py"),
    "python preprocessing/extract_hand_features.py --help": Run(prints="usage: extract_hand_features.py"),
    "python preprocessing/verify_cache.py /fast/cache/poses /fast/cache/hand_features": Run(needs=(MAIN_JOB,), slow=True),
}

VIDEO_NETWORKS: dict[str, Entry] = {
    "python experiments/ntu_vpn.py": Run("--epochs 1 --strategy none", leaves=("runs/ntu_rgbd_vpn/metrics.json",), slow=True),
    NTU_VPN: Run(
        VPN, needs=("/data/ntu", "i3d_rgb.weights.h5"), names={"--data-root": "--workdir runs/ntu_rgbd_vpn --data-root"},
        leaves=("runs/ntu_rgbd_vpn/metrics.json",), slow=True,
    ),
    f"{NTU_VPN} --train on_maps": Run(
        f"{VPN} --workdir runs/on_maps", needs=("/data/ntu", "i3d_rgb.weights.h5"), leaves=("runs/on_maps/metrics.json",),
        slow=True,
    ),
    "python experiments/ntu120_vpn.py --data-root /data/ntu120 --backbone-weights i3d_rgb.weights.h5 "
    "--protocol cross_setup": Run(
        VPN, needs=("/data/ntu120", "i3d_rgb.weights.h5"), leaves=("runs/ntu_rgbd_120_vpn/metrics.json",), slow=True
    ),
    "python experiments/smarthome_vpn.py --data-root /data/smarthome --backbone-weights i3d_rgb.weights.h5": Run(
        VPN, needs=("/data/smarthome", "i3d_rgb.weights.h5"), leaves=("runs/smarthome_vpn/metrics.json",), slow=True
    ),
    "python experiments/nucla_vpn.py --data-root /data/nucla --backbone-weights i3d_rgb.weights.h5 "
    "--initial runs/ntu_rgbd_vpn": Run(
        VPN, needs=("/data/nucla", NTU_VPN), leaves=("runs/nucla_vpn/metrics.json",), slow=True
    ),
    f"{CONVERT_I3D} kinetics-i3d/data/checkpoints/rgb_imagenet/model.ckpt i3d_rgb.weights.h5": ReadOnly(WEIGHTS),
    f"{CONVERT_I3D} pytorch-i3d/models/rgb_imagenet.pt i3d_rgb.weights.h5": ReadOnly(WEIGHTS),
    "python preprocessing/convert_resnext3d_checkpoint.py resnext-101-64f-kinetics.pth resnext101_3d.weights.h5": ReadOnly(
        WEIGHTS
    ),
    "python experiments/ntu_glimpse_clouds.py": Run(
        "--epochs 1 --strategy none", leaves=("runs/ntu_rgbd_glimpse_clouds/metrics.json",), slow=True
    ),
    NTU_GLIMPSE: Run(
        f"{GLIMPSE} --workdir runs/ntu_rgbd_glimpse_clouds_real", needs=("/data/ntu",),
        leaves=("runs/ntu_rgbd_glimpse_clouds_real/metrics.json",), slow=True,
    ),
    "python experiments/nucla_glimpse_clouds.py --data-root /data/nucla --initial runs/ntu_rgbd_glimpse_clouds": Run(
        f"{GLIMPSE} --preset global", needs=("/data/nucla", NTU_GLIMPSE),
        names={"runs/ntu_rgbd_glimpse_clouds": "runs/ntu_rgbd_glimpse_clouds_real"},
        leaves=("runs/nucla_glimpse_clouds/metrics.json",), slow=True,
    ),
    FAST_RESCALED: Run(needs=("/data/ntu",), leaves=("/fast/ntu_256/nturgb+d_rgb/*.avi", "/fast/ntu_256/nturgb+d_skeletons")),
    "python experiments/ntu_glimpse_clouds.py --data-root /fast/ntu_256 --pixel-size 1920 1080": Run(
        f"{GLIMPSE} --workdir runs/rescaled", needs=(FAST_RESCALED,), leaves=("runs/rescaled/metrics.json",), slow=True
    ),
    "python experiments/jhmdb_rpan.py": Run("--epochs 1 --strategy none", leaves=("runs/jhmdb_rpan/metrics.json",), slow=True),
    "python experiments/jhmdb_rpan.py --data-root /data/jhmdb --dataset sub_jhmdb --train on_maps": Run(
        f"{RPAN} {RANDOM}", needs=("/data/jhmdb",), leaves=("runs/sub_jhmdb_rpan/metrics.json",), slow=True
    ),
    "python experiments/penn_rpan.py --data-root /data/Penn_Action": Run(
        f"{RPAN} {RANDOM}", needs=("/data/Penn_Action",), leaves=("runs/penn_action_rpan/metrics.json",), slow=True
    ),
    "python preprocessing/convert_tsn_checkpoint.py --help": Run(prints="usage: convert_tsn_checkpoint.py"),
    f"{CONVERT_TSN}_rgb_$NAME tsn_rgb.weights.h5": ReadOnly(WEIGHTS),
    f"{CONVERT_TSN}_flow_$NAME tsn_flow.weights.h5": ReadOnly(WEIGHTS),
    "python experiments/jhmdb_rpan.py --data-root /data/jhmdb --dataset sub_jhmdb --backbone bn_inception "
    "--backbone-weights tsn_rgb.weights.h5 --flow-weights tsn_flow.weights.h5": Run(
        f"{RPAN} --workdir runs/tsn", needs=("/data/jhmdb", "tsn.weights.h5"), leaves=("runs/tsn/metrics.json",), slow=True
    ),
    "python experiments/rpan_tables.py --table 1 --dataset sub_jhmdb --data-root /data/jhmdb --train on_maps": Run(
        f"{RPAN} {RANDOM} --seeds 0 --protocol split1 --rows without --streams rgb", needs=("/data/jhmdb",),
        leaves=("runs/*_tables/rpan_table1.md",), slow=True,
    ),
    "python experiments/rpan_tables.py --table 3 --dataset sub_jhmdb --data-root /data/jhmdb "
    "--cnn bn_inception=tsn_rgb.weights.h5 --streams rgb": Run(
        f"{RPAN} {RANDOM} --seeds 0 --protocol split1 --workdir runs/table3 --rows bn_inception",
        needs=("/data/jhmdb", "tsn.weights.h5"), leaves=("runs/table3/rpan_table3.md",), slow=True,
    ),
}  # fmt: skip

POSE_SCRIPTS: dict[str, Entry] = {
    "python experiments/sbu_pose.py --data-root /data/sbu": Run(
        f"{POSE} {ONE_FOLD}", needs=("/data/sbu",), leaves=("runs/*sbu*/metrics.json",), slow=True
    ),
    "python experiments/nucla_pose.py --data-root /data/nucla": Run(
        POSE, needs=("/data/nucla",), leaves=("runs/*nucla*/metrics.json",), slow=True
    ),
    "python experiments/own_pose.py --data-root clips.csv": Run(
        POSE, needs=("clips.csv",), leaves=("runs/*own*/metrics.json",), slow=True
    ),
    "python experiments/ablations.py --table 4 --dataset sbu --data-root /data/sbu": Run(
        f"--seeds 0 --epochs 1 {ONE_FOLD}", needs=("/data/sbu",), leaves=("runs/ablations_sbu_paper/table4.md",), slow=True
    ),
    "python experiments/transfer.py --source nucla --source-root /data/nucla --target sbu --target-root /data/sbu": Run(
        f"--seeds 0 --epochs 1 {ONE_FOLD}", needs=("/data/nucla", "/data/sbu"),
        leaves=("runs/transfer_nucla_sbu_tuned/transfer.md",), slow=True,
    ),
    "python preprocessing/check_dataset.py --dataset NAME DATA_ROOT": Run(
        needs=("/data/jhmdb",), names={"NAME": "jhmdb", "DATA_ROOT": "/data/jhmdb"}, prints="split1: 8 train, 4 test"
    ),
    "python preprocessing/check_dataset.py --dataset NAME --modality skeleton DATA_ROOT": Run(
        needs=("/data/sbu",), names={"NAME": "sbu", "DATA_ROOT": "/data/sbu"}, prints="sbu: 42 clips of 8 classes"
    ),
    "openpose.bin --video clip.mp4 --write_json poses/clip --display 0 --render_pose 0": Foreign(
        "openpose.bin", "OpenPose is a program of its own; tests/datasets/test_openpose.py reads folders as it writes them"
    ),
}  # fmt: skip

CACHES: dict[str, Entry] = {
    JHMDB_POSES: Run(needs=("/data/jhmdb",), leaves=("cache/poses/index.json",), prints="12 clips written"),
    JHMDB_CUBES: Run(
        "--height 64 --width 64 --frames 2", needs=(JHMDB_POSES, "resnet50.weights.h5"), leaves=("cache/cubes/index.json",),
        prints="12 clips written", slow=True,
    ),
    "python preprocessing/verify_cache.py cache/cubes": Run(needs=(JHMDB_CUBES,), slow=True),
    JHMDB_FLOW: Run(
        "--height 64 --width 64", needs=(JHMDB_POSES,), leaves=("cache/flow/index.json",), prints="12 clips written"
    ),
    "python preprocessing/extract_frame_cubes.py --dataset jhmdb --data-root /data/jhmdb --poses cache/poses --flow cache/flow "
    "--cache cache/flow_cubes --backbone bn_inception --backbone-weights flow.weights.h5": Run(
        "--height 64 --width 64 --frames 2", needs=(JHMDB_FLOW, "tsn.weights.h5"), leaves=("cache/flow_cubes/index.json",),
        slow=True,
    ),
    POSES_OF_JHMDB: Run("--workers 1", needs=("/data/jhmdb",), leaves=("/fast/cache/poses/index.json",)),
    FLOW: Run("--workers 1", needs=(POSES_OF_JHMDB,), leaves=("/fast/cache/flow/index.json",), prints="12 clips written"),
    "python preprocessing/verify_cache.py /fast/cache/flow": Run(needs=(FLOW,)),
    POSES_OF_NTU: Run("--workers 1", needs=("/data/ntu",), leaves=("/fast/cache/poses/index.json",)),
    PEOPLE: Run("--workers 1", needs=(POSES_OF_NTU,), leaves=("/fast/cache/person_clips/index.json",), prints="clips written"),
    "python preprocessing/verify_cache.py /fast/cache/person_clips": Run(needs=(PEOPLE,)),
    RESCALED: Run(needs=("/data/ntu",), leaves=("/data/ntu_256/nturgb+d_rgb/*.avi",)),
    "python preprocessing/extract_person_clips.py --dataset ntu_rgbd --data-root /data/ntu_256 --poses /fast/cache/poses "
    "--cache /fast/cache/frames --box whole --size 256 --pixel-size 1920 1080 --workers 8": Run(
        "--workers 1", needs=(POSES_OF_NTU, RESCALED), leaves=("/fast/cache/frames/index.json",)
    ),
}  # fmt: skip

_TWO_WORKERS = 'TF_CONFIG="{$cluster, \\"task\\": {\\"type\\": \\"worker\\", \\"index\\": %d}}" $run'
_HANDS = (
    "python preprocessing/extract_hand_features.py --data-root /data/ntu --poses /data/cache/poses --cache /data/cache/hands"
)
_TOGETHER = "two workers train for minutes; tests/recipes/test_together.py runs two"

MACHINES_AND_BENCHMARKS: dict[str, Entry] = {
    f"{_TWO_WORKERS % 1} > worker1.log 2>&1 &": ReadOnly(_TOGETHER),
    _TWO_WORKERS % 0: ReadOnly(_TOGETHER),
    "python experiments/ntu_pose_rgb.py --data-root /data/ntu --workdir /shared/runs/cs --cache-dir /shared/cache "
    "--strategy multiworker": ReadOnly(MACHINES),
    f"{_HANDS} --shard $SLURM_ARRAY_TASK_ID/16": ReadOnly(MACHINES, names={"$SLURM_ARRAY_TASK_ID": "3"}),
    "python preprocessing/extract_poses.py --data-root /data/ntu --cache /data/cache/poses --ray": Run(
        "--workers 1", needs=("/data/ntu",), leaves=("/data/cache/poses/index.json",), slow=True
    ),
    "ray start --head": ReadOnly(MACHINES),
    "ray start --address 10.0.0.1:6379": ReadOnly(MACHINES),
    f"{_HANDS} --ray auto --gpus-per-worker 1 --cpus-per-worker 4": ReadOnly(MACHINES),
    "python benchmarks/run.py": ReadOnly("takes an hour; tests/benchmarks measures everything roughly", more="--list"),
    "KERAS_BACKEND=jax python benchmarks/run.py models prediction": ReadOnly("takes half an hour; see tests/benchmarks"),
}

SCRIPTS: dict[str, Entry] = {
    **INSTALLATION, **MAIN, **VIDEO_NETWORKS, **POSE_SCRIPTS, **CACHES, **MACHINES_AND_BENCHMARKS,
}  # fmt: skip
