"""A web page on which a video is dropped and comes back explained: overlay, most probable classes, timeline. Needs `[demo]`.

    from keras_actrec.demo import serve_demo

    page = serve_demo(keras_actrec.Recognizer.load("runs/mine/export"))
    print(page.url)                                         # http://127.0.0.1:7860/
    page.wait()                                             # until Ctrl-C

Everything stays on this machine: the page loads its fonts and scripts from the program itself, and nobody is told of its use.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_actrec.errors import ActrecError, ConfigError

if TYPE_CHECKING:
    import gradio

    from keras_actrec.recognizer import Recognizer

FIRST_PORT = 7860
AUTOMATIC, WHOLE, WINDOWS = "automatic", "one answer for the whole video", "windows along its time"
_PORTS = 100
_KEPT = 8  # answers whose files stay for who downloads them late
_CLEAN_EVERY, _CLEAN_AFTER = 600, 3600  # seconds, of what was uploaded
_POLICY = (
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    b"connect-src 'self' data: blob:; form-action 'self'; base-uri 'self'"
)
"""What a browser may load into the page: nothing of other hosts, whatever Gradio's own scripts ask for."""
_STYLE = """
footer { display: none !important; }
.answer h2 { margin: 0 0 4px 0; }
"""


@dataclass(frozen=True)
class Answer:
    """What the page shows of one video.

    Attributes:
        words: Markdown: the most probable class, and what was looked at.
        ranking: (class name, probability) pairs, best first.
        film: explained video, `.webm`.
        timeline: picture of the timeline; None for one answer for the whole video.
        rows: (from second, to second, class, probability) of the timeline.
        files: to download.
    """

    words: str
    ranking: list[tuple[str, float]]
    film: Path
    timeline: Path | None
    rows: list[tuple[float, float, str, float]]
    files: list[Path]


@dataclass(frozen=True, eq=False)
class DemoPage:
    """A page that is served.

    Attributes:
        url: its address.
        blocks: the page itself.
    """

    url: str
    blocks: gradio.Blocks

    def wait(self) -> None:
        """Until Ctrl-C (KeyboardInterrupt); the page is closed then."""
        try:
            threading.Event().wait()
        finally:
            self.close()

    def close(self) -> None:
        """Ends the server."""
        self.blocks.close(verbose=False)


def answer_video(
    recognizer: Recognizer,
    video: str | Path,
    skeleton: str | Path | None,
    folder: Path,
    *,
    mode: str = AUTOMATIC,
    seconds: float = 3.0,
    stride: float = 1.5,
) -> Answer:
    """Recognises what is done in a video and writes the explained video, as the page shows it.

    Args:
        recognizer: the model.
        video: a file.
        skeleton: its poses, a file of any form; None: estimated where the model needs them.
        folder: where the results are written.
        mode: AUTOMATIC takes windows for videos that two of them fit into side by side, and one answer for shorter ones.
        seconds, stride: length of a window, and from one to the next.

    Raises:
        ConfigError: an unknown mode; and as `Recognizer` does, as all other errors.
    """
    from keras_actrec.recipes.prediction.film import write_film

    if mode not in (AUTOMATIC, WHOLE, WINDOWS):
        raise ConfigError("no such way to answer", found=mode, expected=f"one of {AUTOMATIC}, {WHOLE}, {WINDOWS}")
    video = Path(video)
    film = folder / f"{video.stem}_explained.webm"  # what browsers play
    if mode == WHOLE or (mode == AUTOMATIC and _duration(video) < 2 * seconds):
        return _whole_answer(recognizer, video, skeleton, film)
    from keras_actrec.recipes.prediction.timeline import Timeline
    from keras_actrec.visualize.timeline import timeline_png

    windows = list(recognizer.windows(video, skeleton, seconds=seconds, stride=stride))
    timeline = Timeline.of(windows)
    write_film(video, windows, film)
    mean = timeline.probabilities.mean(axis=0)
    best = np.argsort(-mean, kind="stable")[:5]
    ranking = [(timeline.class_names[label], float(mean[label])) for label in best]
    segments = timeline.segments()
    rows = [(round(s.start_seconds, 2), round(s.stop_seconds, 2), s.class_name, round(s.probability, 3)) for s in segments]
    picture = timeline_png(timeline, folder / f"{video.stem}_timeline.png")
    table = timeline.write_csv(folder / f"{video.stem}_timeline.csv")
    data = timeline.write_json(folder / f"{video.stem}_timeline.json")
    longest = max(segments, key=lambda segment: segment.stop - segment.start)
    words = (
        f"## {_plain(longest.class_name)}\n{longest.start_seconds:.1f} to {longest.stop_seconds:.1f} s, the longest of "
        f"{len(segments)} parts; {len(windows)} windows of {seconds:g} s"
    )
    return Answer(words, ranking, film, picture, rows, [film, picture, table, data])


def _whole_answer(recognizer: Recognizer, video: Path, skeleton: str | Path | None, film: Path) -> Answer:
    from keras_actrec.recipes.prediction.explanation import write_explanation

    prediction = recognizer(video, skeleton)
    write_explanation(prediction, film)
    ranking = prediction.top()
    name, probability = ranking[0]
    words = f"## {_plain(name)}\n{100 * probability:.1f} %; {len(prediction.moments)} frames"
    return Answer(words, ranking, film, None, [], [film])


def _duration(video: Path) -> float:
    """Seconds of a video, as far as its file says; 0 where it does not."""
    from keras_actrec.video.decode import VideoReader

    with VideoReader(video) as reader:
        return reader.frame_count / reader.frame_rate if reader.frame_rate else 0.0


def _plain(text: str) -> str:
    """A class name inside of Markdown: no mark in it means anything."""
    return "".join(f"&#{ord(char)};" if char in "\\`*_{}[]()<>#+-.!|&~$" else char for char in text)


def build_demo(recognizer: Recognizer) -> gradio.Blocks:
    """The page: a video in, the explained video, the most probable classes and the timeline out.

    Its function is also an endpoint, `/recognise`, for `gradio_client`: (video, skeleton file or None, one of AUTOMATIC, WHOLE
    and WINDOWS, seconds of a window, seconds to the next) → words, film, ranking, timeline picture, table, files.

    Args:
        recognizer: one model, which answers one video at a time.

    Raises:
        ConfigError: Gradio is not installed.
    """
    gr = _gradio()
    work = _Work()
    layout = recognizer.description.model

    def recognise(video, skeleton, mode, seconds, stride):
        if not video:
            raise gr.Error("Drop a video first.", title="No video", print_exception=False)
        began = time.monotonic()
        try:
            answer = answer_video(
                recognizer, video, skeleton, work.folder(), mode=mode, seconds=float(seconds or 0), stride=float(stride or 0)
            )
        except ActrecError as error:
            raise gr.Error(_said(error, video, skeleton), duration=None, title="No answer", print_exception=False) from error
        words = f"{answer.words}; answered in {time.monotonic() - began:.1f} s"
        picture = None if answer.timeline is None else str(answer.timeline)
        shown_picture = gr.update(value=picture, visible=picture is not None)
        shown_table = gr.update(value=[list(row) for row in answer.rows], visible=bool(answer.rows))
        return words, str(answer.film), dict(answer.ranking), shown_picture, shown_table, [str(file) for file in answer.files]

    with gr.Blocks(
        title="What is done in this video?", analytics_enabled=False, delete_cache=(_CLEAN_EVERY, _CLEAN_AFTER)
    ) as page:
        gr.Markdown(f"# What is done in this video?\n{_about(recognizer, layout)}")
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                # No player: browsers do not play .avi, which the program reads.
                video = gr.File(label="Drop a video here", height=150)
                skeleton = gr.File(
                    label="Poses of the video (optional: any pose file)" if recognizer.needs_skeleton else "Poses: not needed",
                    visible=recognizer.needs_skeleton, height=150,
                )  # fmt: skip
                with gr.Accordion("Long videos", open=False):
                    mode = gr.Radio([AUTOMATIC, WHOLE, WINDOWS], value=AUTOMATIC, label="Answer")
                    seconds = gr.Number(3.0, label="Seconds of a window", minimum=0.1)
                    stride = gr.Number(1.5, label="Seconds from one window to the next", minimum=0.1)
                start = gr.Button("Recognise", variant="primary")
            with gr.Column(scale=5, min_width=320):
                words = gr.Markdown(elem_classes="answer")
                film = gr.Video(
                    label="Explained", show_label=False, autoplay=True, loop=True, interactive=False, buttons=["download"]
                )
                ranking = gr.Label(label="Most probable", num_top_classes=5, show_heading=False)
                picture = gr.Image(label="Timeline", visible=False, interactive=False, buttons=["download", "fullscreen"])
                table = gr.Dataframe(
                    headers=["from, s", "to, s", "class", "probability"], label="Parts", visible=False, interactive=False
                )
                files = gr.File(label="Files", file_count="multiple", interactive=False)
        inputs, outputs = [video, skeleton, mode, seconds, stride], [words, film, ranking, picture, table, files]
        start.click(recognise, inputs, outputs, api_name="recognise", concurrency_limit=1, concurrency_id="recognise")
        video.upload(recognise, inputs, outputs, api_name=False, concurrency_limit=1, concurrency_id="recognise")
    return page.queue(max_size=16, default_concurrency_limit=1)


def serve_demo(recognizer: Recognizer, *, host: str = "127.0.0.1", port: int | None = None) -> DemoPage:
    """Serves the page in threads of this process.

    Args:
        recognizer: the model.
        host: address to listen at; 127.0.0.1 is for this machine alone, 0.0.0.0 for everyone who reaches it.
        port: None takes the first free one from 7860 on.

    Raises:
        ConfigError: Gradio is not installed, or the port is taken.
    """
    gr = _gradio()
    page = build_demo(recognizer)
    plain = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # none that is fetched
    try:
        _, url, _ = page.launch(
            server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, share=False, ssr_mode=False,
            inbrowser=False, enable_monitoring=False, theme=plain, css=_STYLE, footer_links=[],
            app_kwargs={"middleware": _middleware()},
        )  # fmt: skip
    except OSError as error:
        place = f"{host}, port {port or f'{FIRST_PORT} and the {_PORTS - 1} after it'}"
        raise ConfigError(
            "the page cannot be served there", found=f"{place}: {error}",
            fix="give another --port, or a --host that this machine has",
        ) from error  # fmt: skip
    return DemoPage(url, page)


def _said(error: ActrecError, *files: str | None) -> str:
    """The words of an error about what was uploaded, by the names that its owner knows."""
    text = str(error)
    for file in filter(None, files):
        text = text.replace(str(file), Path(file).name)
    return text


def _about(recognizer: Recognizer, model: str) -> str:
    names = recognizer.class_names
    shown = ", ".join(_plain(name) for name in names[:12]) + (", …" if len(names) > 12 else "")
    poses = " Poses are estimated in the video unless you give them." if recognizer.needs_skeleton else ""
    return f"The model ({_plain(model)}) knows {len(names)} classes: {shown}. One clip of a few seconds is best.{poses}"


class _Work:
    """Folders for results; those of old answers are deleted."""

    def __init__(self):
        self._folders: deque[tempfile.TemporaryDirectory] = deque()

    def folder(self) -> Path:
        while len(self._folders) >= _KEPT:
            self._folders.popleft().cleanup()
        self._folders.append(tempfile.TemporaryDirectory(prefix="keras_actrec_demo_"))
        return Path(self._folders[-1].name)


def _gradio():
    """Gradio, with its reports to its makers switched off before it is imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError as error:
        raise ConfigError(
            "the page needs Gradio, which is not installed", found=error, fix="run pip install 'keras_actrec[demo]'"
        ) from error
    return gradio


def _middleware() -> list:
    from starlette.middleware import Middleware

    return [Middleware(_OnlyOurs)]


class _OnlyOurs:
    """Tells browsers to load nothing from other hosts."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send) -> None:
        async def with_policy(message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), (b"content-security-policy", _POLICY)]}
            await send(message)

        await self._app(scope, receive, with_policy if scope["type"] == "http" else send)
