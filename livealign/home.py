"""The folders of one workspace under LIVEALIGN_HOME.

Everything that LiveAlign writes lies there.

LIVEALIGN_HOME/
  models/  archive/                      shared by all platforms
  platforms/<platform>/                  one workspace for each platform, never mixed
    landing/  warehouse/  artifacts/  releases/  reports/  dagster/
  landing → platforms/<active>/landing   (and so on: links to the active platform's workspace)
"""

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from livealign.errors import LiveAlignError
from livealign.paths import path_in

BENTOS = Path("bentos", "live_recommender")  # the folder of our Bentos below a BENTOML_HOME, as BentoML names it
LONGEST_PATH, LONGEST_NAME = 2_000, 255  # characters, with room for what lies below; bytes of one folder's name
_ODD = set("\\=?#*")
WORKSPACE_FOLDERS = ("landing", "warehouse", "artifacts", "releases", "reports", "dagster")


@dataclass(frozen=True)
class Home:
    """The folders of one platform's workspace and the shared ones beside it.

    Creating the object touches nothing on disk; `activate` makes the folders.
    """

    root: Path
    platform: str

    @classmethod
    def from_environment(cls, platform: str | None = None) -> "Home":
        """The home under `LIVEALIGN_HOME`, for the platform `LIVEALIGN_PLATFORM`.

        Defaults: `.livealign` and `simulator`.

        Raises:
            LiveAlignError: the folder has a name that DuckDB cannot read from, or the platform is no name.
        """
        path_in(os.environ, "LIVEALIGN_HOME")
        root = home_root()
        refuse_odd(root)
        return cls(root, platform or os.environ.get("LIVEALIGN_PLATFORM") or "simulator")

    def __post_init__(self) -> None:
        if not self.platform.isidentifier():
            raise LiveAlignError(
                f"'{self.platform}' is no platform name; use letters, digits and underscores, e.g. LIVEALIGN_PLATFORM=simulator"
            )

    @property
    def workspace(self) -> Path:
        return self.root / "platforms" / self.platform

    @property
    def retrain_lock(self) -> Path:
        """The file that a retrain locks as long as it runs."""
        return self.workspace / "retrain.lock"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def archive(self) -> Path:
        """The default archive folder of this platform; a user may name another."""
        return self.root / "archive" / self.platform

    @property
    def landing(self) -> Path:
        return self.workspace / "landing"

    @property
    def warehouse(self) -> Path:
        return self.workspace / "warehouse"

    @property
    def warehouse_file(self) -> Path:
        """The DuckDB database. One process writes it at a time; other processes read `marts`."""
        return self.warehouse / "warehouse.duckdb"

    @property
    def warehouse_tables(self) -> Path:
        """The last output of dbt, `tables/<model>/dt=YYYY-MM-DD/part-0.parquet`.

        `marts` has the output that passed dbt's tests.
        """
        return self.warehouse / "tables"

    @property
    def dbt(self) -> Path:
        """The folder that dbt writes to: its manifest, and a folder with the log of each run."""
        return self.workspace / "dbt"

    @property
    def marts(self) -> Path:
        """Published Parquet marts, `marts/<mart>/dt=YYYY-MM-DD/part-0.parquet`."""
        return self.warehouse / "marts"

    @property
    def artifacts(self) -> Path:
        """Models and vectors of each retrain, `artifacts/<day>/…`."""
        return self.workspace / "artifacts"

    @property
    def embedding_cache(self) -> Path:
        """Vectors by encoder version and text, shared by all days."""
        return self.artifacts / "embedding_cache"

    @property
    def releases(self) -> Path:
        return self.workspace / "releases"

    @property
    def bento_store(self) -> Path:
        """BENTOML_HOME of this platform."""
        return self.workspace / "bentoml"

    @property
    def bentos(self) -> Path:
        """The Bentos of this platform, one folder for each release."""
        return self.bento_store / BENTOS

    def bento(self, release_id: str) -> Path:
        """The folder of a release's Bento."""
        return self.bentos / release_id

    @property
    def reports(self) -> Path:
        return self.workspace / "reports"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME: runs, events and schedules of this platform."""
        return self.workspace / "dagster"

    def activate(self) -> str | None:
        """Make the workspace and link the folders at the top of the home to it.

        Safe to repeat at any time.

        Returns:
            A sentence if the links led to another platform until now.

        Raises:
            LiveAlignError: LIVEALIGN_HOME cannot be written, or something else is in the way.
        """
        link = self.root / WORKSPACE_FOLDERS[0]
        try:
            previous = link.readlink().parent.name if link.is_symlink() else self.platform
            self._make_folders()
        except OSError as error:
            where = error.filename or self.root
            raise LiveAlignError(
                f"LIVEALIGN_HOME={self.root}: {where} cannot be made ({error.strerror}); name a folder that can be written"
            ) from error
        if previous == self.platform:
            return None
        return f"landing/, releases/ and the other links in {self.root} now lead to {self.platform}, no longer to {previous}"

    def _make_folders(self) -> None:
        self.models.mkdir(parents=True, exist_ok=True)
        for name in WORKSPACE_FOLDERS:
            (self.workspace / name).mkdir(parents=True, exist_ok=True)
            link, target = self.root / name, Path("platforms") / self.platform / name
            if link.is_symlink() or not link.exists():
                replace_link(link, target)
            else:
                raise LiveAlignError(f"{link} is in the way: it should be a link to {target}; move it away and run again")


def home_root() -> Path:
    """LIVEALIGN_HOME, whether it may be used or not."""
    return Path(os.environ.get("LIVEALIGN_HOME") or ".livealign").absolute()


def refuse_odd(root: Path) -> None:
    """Refuse a home whose path DuckDB, dbt or Evidently cannot read.

    Quotes, brackets, braces, spaces and other scripts are no trouble.

    DuckDB takes a backslash for the end of a folder, and a folder `name=value` for a partition column; dbt takes what follows
    ? or # for no path, Evidently takes * and :: for patterns; a line break or another control character, or bytes that are no
    text, break configurations and logs.

    Raises:
        LiveAlignError: it is such a path.
    """
    path = str(root)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise LiveAlignError(f"LIVEALIGN_HOME is {path!r}, which is no UTF-8 text; choose another folder") from None
    if len(path) > LONGEST_PATH or any(len(os.fsencode(part)) > LONGEST_NAME for part in root.parts):
        raise LiveAlignError(f"LIVEALIGN_HOME is {path[:80]!r}…, which is too long; choose a folder with a shorter path")
    if _ODD & set(path) or "::" in path or any(unicodedata.category(letter) == "Cc" for letter in path):
        raise LiveAlignError(
            f"LIVEALIGN_HOME is {path!r}; choose a folder whose path has no backslash, = ? # * :: or control character"
        )


def replace_link(link: Path, target: Path) -> None:
    """Point the symbolic link at `target` in one step.

    A reader sees the old target or the new one, never a missing link.
    """
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
