"""A progress bar for the terminal."""

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


def progress_bar(label: str):
    """A context that yields advance(done, total), shown as a bar with elapsed time."""
    return _Bar(label)


class _Bar:
    def __init__(self, label: str) -> None:
        self._label = label
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
        )

    def __enter__(self):
        self._progress.start()
        task = self._progress.add_task(self._label, total=None)
        return lambda done, total: self._progress.update(task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
