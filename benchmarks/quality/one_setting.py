"""GAUC of the method with one setting changed, over several seeds of its heads.

make retrain && .venv/bin/python -m benchmarks.quality.one_setting alignment.content_rank 128 64 32 --seeds 3
.venv/bin/python -m benchmarks.quality.one_setting dataset.half_life_seconds 60 30 20 15 --seeds 3

On the held-out day of the last retrain. The setting is one of `dataset`, `alignment`, `codes` or `ranker`
(`livealign/config.py`), as part.name. `--unchecked` leaves the content check out, so that content is always used.
"""

import argparse
from dataclasses import asdict, replace

import numpy as np

from benchmarks.json_rows import JsonRows
from benchmarks.quality.retrained import Retrained, add_options
from livealign.evaluation.frame import CLICK
from livealign.llm.backbone import choose_device, use_physical_cores
from livealign.metrics import gauc, user_auc
from livealign.profiles import Profile
from livealign.ranking.variants import VARIANTS, train_variant

PARTS = ("dataset", "alignment", "codes", "ranker")


def main() -> None:
    """Print and record a row for each value."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("setting", help="part.name, as alignment.content_rank")
    parser.add_argument("values", nargs="+")
    parser.add_argument("--variant", choices=VARIANTS, default="aligned_codes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--unchecked", action="store_true")
    add_options(parser)
    arguments = parser.parse_args()
    use_physical_cores()
    retrained = Retrained.of(arguments)
    profile, out = retrained.profile, JsonRows(arguments.json)
    if arguments.unchecked:
        profile = replace(profile, alignment=replace(profile.alignment, check=False))
    try:
        profiles = {value: with_setting(profile, arguments.setting, value) for value in arguments.values}
    except ValueError as error:
        parser.error(str(error))
    seeds = range(profile.seed, profile.seed + arguments.seeds)
    print(f"{arguments.setting:<32}" + "".join(f"{f'seed {seed}':>10}" for seed in seeds) + f"{'mean':>10}")
    for value, changed in profiles.items():
        corpus, gauc_by_seed = retrained.corpus(changed), []
        for seed in seeds:
            trained = train_variant(arguments.variant, corpus, changed, seed, device=choose_device())
            auc = user_auc(trained.score(corpus.test)[:, CLICK], corpus.test.label("click"), corpus.test.user_id)
            gauc_by_seed.append(gauc(auc))
            out.add(f"{arguments.variant}, {arguments.setting} = {value}", gauc_by_seed[-1], "GAUC", seed=seed)
        cells = "".join(f"{cell:>10.4f}" for cell in (*gauc_by_seed, np.mean(gauc_by_seed)))
        print(f"{value:<32}{cells}", flush=True)
    out.write()


def with_setting(profile: Profile, setting: str, value: str) -> Profile:
    """The profile with one number changed.

    Raises:
        ValueError: there is no such setting, or it is not a number.
    """
    part, _, name = setting.partition(".")
    known = asdict(getattr(profile, part)) if part in PARTS else {}
    before = known.get(name)
    if isinstance(before, bool) or not isinstance(before, int | float):
        raise ValueError(f"'{setting}' is no number among the settings of {', '.join(PARTS)}; `livealign settings` lists them")
    return replace(profile, **{part: replace(getattr(profile, part), **{name: type(before)(value)})})


if __name__ == "__main__":
    main()
