"""livealign.toml, the environment and --set on top of a profile: what wins, where it came from, and what a mistake says."""

import os
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livealign.bounds import Bounds, info_of
from livealign.cli import main as cli
from livealign.config import VARIANT_NAMES
from livealign.dataset.examples import TASKS
from livealign.errors import LiveAlignError
from livealign.profiles import PROFILES, Profile, load_profile
from livealign.ranking.variants import VARIANTS
from livealign.setting_types import STAGES, all_names, description_of, value_of, with_value
from livealign.settings import GivenValue, Settings, export_flags, load_settings
from livealign.settings_file import defaults_file

ROOT = Path(__file__).parents[2]


def load(folder: Path, toml: str = "", *sets: str, **environment: str) -> Settings:
    """The settings of a folder with this livealign.toml."""
    (folder / "livealign.toml").write_text(toml)
    flags = [GivenValue.flag("--set", one) for one in sets]
    return load_settings(flags, {f"LIVEALIGN_{name}": value for name, value in environment.items()}, folder)


def mistake(folder: Path, toml: str = "", *sets: str, **environment: str) -> str:
    """The one line that the settings of the folder end in."""
    with pytest.raises(LiveAlignError) as raised:
        load(folder, toml, *sets, **environment)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_without_anything_the_profile_is_in_force(tmp_path: Path) -> None:
    settings = load_settings([], {}, tmp_path)
    assert settings.profile == PROFILES["laptop"]
    assert not settings.origins
    assert settings.origin("finetune.steps") == "profile laptop"


def test_a_later_source_wins_and_each_value_says_where_it_came_from(tmp_path: Path) -> None:
    toml = 'profile = "tiny"\nseed = 3\n\n[dataset]\ntrain_days = 4\nhistory_length = 9\n[finetune]\nsteps = 5\nrank = 2\n'
    settings = load(tmp_path, toml, "finetune.rank=4", DAYS="5", SET="finetune.steps=7 ranker.hidden=[8, 4]")
    expected = {
        "profile": ("tiny", "livealign.toml:1"),
        "seed": (3, "livealign.toml:2"),
        "alignment.seed": (3, "livealign.toml:2"),
        "dataset.train_days": (5, "LIVEALIGN_DAYS"),
        "dataset.history_length": (9, "livealign.toml:6"),
        "finetune.steps": (7, "LIVEALIGN_SET"),
        "finetune.rank": (4, "--set"),
        "ranker.hidden": ((8, 4), "LIVEALIGN_SET"),
        "finetune.batch_size": (8, "profile tiny"),
    }
    for name, (value, origin) in expected.items():
        found = settings.profile.name if name == "profile" else value_of(settings.profile, name)
        assert (found, settings.origin(name)) == (value, origin), name


def test_the_seed_of_a_stage_wins_over_the_seed_of_all_within_one_source(
    tmp_path: Path,
) -> None:
    toml = "seed = 3\n[codes]\nseed = 4\n"
    assert load(tmp_path, toml).profile.codes.seed == 4
    assert load(tmp_path, toml, SEED="5").profile.codes.seed == 5


def test_the_working_folder_comes_before_the_home_and_a_named_file_before_both(tmp_path: Path) -> None:
    for name, number in (("livealign.toml", 2), ("home/livealign.toml", 3), ("other.toml", 4)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"[finetune]\nrank = {number}\n")
    environment = {"LIVEALIGN_HOME": str(tmp_path / "home")}
    assert load_settings([], environment, tmp_path).profile.finetune.rank == 2
    assert load_settings([], environment | {"LIVEALIGN_CONFIG": "other.toml"}, tmp_path).profile.finetune.rank == 4
    (tmp_path / "livealign.toml").unlink()
    assert load_settings([], environment, tmp_path).profile.finetune.rank == 3
    with pytest.raises(LiveAlignError, match=r"LIVEALIGN_CONFIG names gone\.toml"):
        load_settings([], {"LIVEALIGN_CONFIG": "gone.toml"}, tmp_path)


@pytest.mark.parametrize("platform", ["twitch", "youtube", "bilibili", "chat"])
def test_a_chat_platform_learns_from_four_weeks_unless_a_person_says_otherwise(tmp_path: Path, platform: str) -> None:
    assert load(tmp_path, PLATFORM=platform).profile.dataset.train_days == 28
    assert load(tmp_path, PLATFORM=platform).profile.evaluation.least_days == 14
    assert load(tmp_path, "[dataset]\ntrain_days = 3\n", PLATFORM="twitch").profile.dataset.train_days == 3


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[finetune]\nstepz = 4", "livealign.toml:2: finetune.stepz: no such setting; did you mean finetune.steps?"),
        ("[finetun]\nsteps = 4", "livealign.toml:2: finetun.steps: no such setting; did you mean finetune.steps?"),
        ("[finetun]", "livealign.toml:1: finetun: no such setting; did you mean [finetune]?"),
        ("\ntrain_days = 4", "livealign.toml:2: train_days: no such setting; did you mean dataset.train_days?"),
        ("[codes]\nx = '''\n[finetune]\nsteps = 1\n'''", "livealign.toml:2: codes.x: no such setting"),
        ("finetune.steps = 4.0", "livealign.toml:1: finetune.steps: takes a whole number, at least 1, not 4.0"),
        ("finetune.steps = true", "livealign.toml:1: finetune.steps: takes a whole number, at least 1, not True"),
        ("[finetune]\n# why\nsteps = 0", "livealign.toml:3: finetune.steps: is at least 1, not 0"),
        ("[finetune]\ndropout = nan", "livealign.toml:2: finetune.dropout: is at least 0 and below 1, not nan"),
        ("[finetune]\ndropout = inf", "livealign.toml:2: finetune.dropout: is at least 0 and below 1, not inf"),
        ("[ranker]\nhidden = [\n  8,\n  0,\n]", "livealign.toml:2: ranker.hidden: is from 1 to 65,536, not 0"),
        ("[ranker]\nhidden = []", "livealign.toml:2: ranker.hidden: is an empty list"),
        ("[[finetune]]\nsteps = 3", "livealign.toml:1: finetune: is a table; write [finetune]"),
        ("[finetune.steps]\nx = 3", "livealign.toml:1: finetune.steps: takes a whole number"),
        ("[finetune\nsteps = 3", "livealign.toml:1: not TOML: "),
        ("seed = 1\nseed = 2", "livealign.toml:2: not TOML: "),
        ("profile = 'labtop'", "livealign.toml:1: profile: there is no profile 'labtop'; did you mean laptop?"),
        ("[encoder]\npooling = 'mena'", "livealign.toml:2: encoder.pooling: there is no 'mena'; did you mean mean?"),
        ("[encoder]\nexit_layer = 1.5", "livealign.toml:2: encoder.exit_layer: a share of the depth lies from 0 to 1"),
        ("[evaluation]\ncomparison = ['id_only', 'id_only']", "livealign.toml:2: evaluation.comparison: "),
        (
            "[evaluation]\nhead_share = 0.9",
            "evaluation.head_share = 0.9 (livealign.toml:2), evaluation.torso_share = 0.8",
        ),
        (
            "finetune.broadcast_windows = 8\nframes.prefix_tokens = 4",
            "finetune.broadcast_windows = 8 (livealign.toml:1), frames.prefix_tokens = 4 (livealign.toml:2): has to be 0",
        ),
        ("machines.shard = true", "machines.shard = true (livealign.toml:1), machines.ranks = 1 (profile laptop): has to be"),
        ("[ranker]\ntask_weights = [1]", "ranker.task_weights = [1.0] (livealign.toml:2)"),
        ('"a\\nb" = 1', "livealign.toml:1: a b: no such setting"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_its_place_and_the_nearest_name(toml: str, said: str, tmp_path: Path) -> None:
    assert said in mistake(tmp_path, toml)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("finetune.steps", "--set finetune.steps: write name=value"),
        ("finetune.stepz=4", "--set finetune.stepz=4: no such setting; did you mean finetune.steps?"),
        ("finetune.steps=four", "--set finetune.steps=four: takes a whole number"),
        ("finetune.steps=1\nseed=2", "--set finetune.steps=1 seed=2: takes a whole number"),
        ("backbone=", "--set backbone=: '' is no text"),
    ],
)
def test_a_mistake_on_the_command_line_names_the_flag(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(LiveAlignError, match=re.escape(said)):
        load(tmp_path, "", text)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SEED", "abc", "LIVEALIGN_SEED=abc: takes a whole number, from 0 to"),
        ("SEED", "-1", "LIVEALIGN_SEED=-1: is from 0"),
        ("DAYS", "0", "LIVEALIGN_DAYS=0: is from 1"),
        ("PROFILE", "gpuu", "LIVEALIGN_PROFILE=gpuu: there is no profile 'gpuu'; did you mean gpu?"),
        ("SET", "finetune.steps", "LIVEALIGN_SET finetune.steps: write name=value"),
        ("SET", "json:x", "LIVEALIGN_SET cannot be read"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(variable: str, value: str, said: str, tmp_path: Path) -> None:
    assert said in mistake(tmp_path, "", **{variable: value})


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "livealign.toml").write_bytes(b"seed = 1\n# \xff\n")
    with pytest.raises(LiveAlignError, match=r"livealign\.toml:2: not UTF-8"):
        load_settings([], {}, tmp_path)
    (tmp_path / "livealign.toml").unlink()
    (tmp_path / "livealign.toml").mkdir()
    with pytest.raises(LiveAlignError, match=r"livealign\.toml cannot be read"):
        load_settings([], {}, tmp_path)


def test_flags_reach_the_code_that_loads_settings_again_and_stay_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVEALIGN_SET", "codes.levels=2")
    export_flags([GivenValue.flag("--set", "backbone=a b=c"), GivenValue.option("--seed", "seed", "5")])
    export_flags([GivenValue.flag("--set", "finetune.steps=9")])
    settings = load_settings()
    assert settings.profile.backbone == "a b=c"
    assert [settings.origin(name) for name in ("codes.levels", "backbone", "codes.seed", "finetune.steps")] == [
        "LIVEALIGN_SET",
        "--set",
        "--seed",
        "--set",
    ]


def test_every_setting_is_described_and_every_number_has_bounds_that_its_defaults_keep() -> None:
    names = set(all_names())
    for stage in ("", *STAGES):
        owner = getattr(PROFILES["laptop"], stage) if stage else PROFILES["laptop"]
        for one in fields(owner):
            if one.name == "name" or is_dataclass(getattr(owner, one.name)):
                continue
            name = f"{stage}.{one.name}" if stage else one.name
            assert name in names
            info = info_of(one)
            assert info is not None
            assert info.description
            assert "\n" not in description_of(name)
            if isinstance(getattr(owner, one.name), int | float) and not isinstance(getattr(owner, one.name), bool):
                assert info.bounds is not None, name
    assert VARIANT_NAMES == VARIANTS
    assert PROFILES["laptop"].ranker.tasks == TASKS


def uncommented(text: str) -> str:
    return re.sub("^# ?", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", PROFILES)
def test_the_defaults_file_changes_nothing_and_uncommented_it_is_the_profile(name: str, tmp_path: Path) -> None:
    text = defaults_file(load_profile(name))
    assert not load(tmp_path, text).origins
    settings = load(tmp_path, uncommented(text))
    assert settings.profile == load_profile(name)
    assert set(settings.origins) == {*all_names(), "profile"}


def numbers(bounds: Bounds, whole: bool) -> st.SearchStrategy:
    low, high = max(bounds.least, -1e6), min(bounds.most, 1e6)
    if whole:
        return st.integers(int(low), int(high)).filter(bounds.hold)
    return st.floats(low, high).filter(bounds.hold)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """The laptop profile with other numbers and another backbone."""
    found = replace(load_profile("laptop"), backbone=draw(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)))
    for name in draw(st.sets(st.sampled_from(["finetune.steps", "finetune.dropout", "codes.levels", "live.seen_penalty"]))):
        value = value_of(found, name)
        stage, _, key = name.partition(".")
        info = next(info_of(one) for one in fields(getattr(found, stage)) if one.name == key)
        assert info is not None
        assert info.bounds is not None
        found = with_value(found, name, draw(numbers(info.bounds, isinstance(value, int))))
    return found


@given(profiles())
def test_any_profile_survives_its_file(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> None:
    folder = tmp_path_factory.mktemp("settings")
    assert load(folder, uncommented(defaults_file(profile))).profile == profile


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    cli.app(list(arguments), standalone_mode=False)
    return capsys.readouterr().out


def test_the_command_prints_what_is_in_force_and_writes_defaults_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("livealign.toml").write_text('profile = "tiny"\n[ranker]\nhidden = [8]\n')
    lines = [line for line in run(capsys, "settings", "--set", "seed=4").splitlines() if line.startswith("│ ")]
    rows = {name: line for line in lines if (name := line.split("│")[1].strip())}
    assert set(rows) == {"profile", *all_names()}
    assert re.search(r"\[8\] +│ livealign\.toml:3", rows["ranker.hidden"])
    assert "--set" in rows["codes.seed"]
    assert "profile tiny" in rows["finetune.steps"]
    assert run(capsys, "settings", "--defaults") == defaults_file(load_profile("tiny"))
    run(capsys, "settings", "--defaults", "--out", "new.toml")
    with pytest.raises(LiveAlignError, match="already"):
        run(capsys, "settings", "--defaults", "--out", "new.toml")
    assert Path("new.toml").read_text() == defaults_file(load_profile("tiny"))


@pytest.mark.timeout(20)
def test_a_settings_file_that_is_a_pipe_or_a_dangling_link_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "livealign.toml")
    with pytest.raises(LiveAlignError, match=r"livealign.toml cannot be read .it is a pipe, a socket or a device.; correct it"):
        load_settings((), {}, tmp_path)
    (tmp_path / "livealign.toml").unlink()
    (tmp_path / "livealign.toml").symlink_to(tmp_path / "gone.toml")
    with pytest.raises(LiveAlignError, match=r"livealign.toml cannot be read .No such file"):
        load_settings((), {}, tmp_path)
    with pytest.raises(LiveAlignError, match=r"LIVEALIGN_CONFIG='~/a.toml': only a shell expands ~"):
        load_settings((), {"LIVEALIGN_CONFIG": "~/a.toml"}, tmp_path)
