"""Values that a person may type or set by mistake, and seeded mixtures of them."""

import random

ODD = (
    *(
        "",
        " ",
        "\t",
        "\n",
        "a\nb",
        "abc",
        "-",
        "--",
        "---",
        "-1",
        "0",
        "1",
        "00",
        "1.5",
        "1e3",
        "1e309",
        "-0.0",
        "nan",
        "inf",
        "-inf",
    ),
    *("NaN", "0x10", "1_000", "1,5", "½", "٣", "1" * 30, "9" * 400, "-" + "9" * 400, str(2**31), str(2**63), str(2**64)),
    *(
        "true",
        "false",
        "None",
        "null",
        "[]",
        "{}",
        "[1, 2",
        '["a"',
        "{a=1}",
        '"',
        "'",
        '""',
        "\\",
        "\\n",
        "%s",
        "%(x)s",
        "{x}",
        "{0}",
    ),
    *(
        "2025-6-5",
        "2025-06-05",
        "2025-02-30",
        "20250605",
        "0000-01-01",
        "9999-12-31",
        "2025-06-05..2025-06-01",
        "..",
        "2025-W01-1",
    ),
    *("2025-06-05T00:00Z", "yesterday", "00:00", "0 3 * *", "* * * * * * *", "0 3 * * *", "99 99 * * *"),
    *(
        "/dev/null",
        "/dev/zero",
        "/proc/self/mem",
        "/no/such/folder",
        "../no",
        "~",
        "$HOME",
        "`id`",
        "; rm -rf x",
        "| cat",
        "a b",
        "a=b",
    ),
    *(
        "=",
        "a=b=c",
        "finetune.steps=abc",
        "finetune.steps=",
        "seed=5",
        "seed=-1",
        "x" * 5_000,
        "[bold]",
        "[/]",
        ":smile:",
        "\x1b[31m",
    ),
    *("\u202e", "\u0000".replace("\0", "\x01"), "中文", "🎮", "é", "e\u0301", "\udcff", "a\udc80b", "\ufeff", "\u2028"),
    *(
        "http://",
        "http://[",
        "https://host:99999/x",
        "ftp://x",
        "file:///etc/passwd",
        "localhost",
        "127.0.0.1",
        "::1",
        "[::1]:3000",
    ),
    *(
        "cpu",
        "cuda",
        "cuda:99",
        "meta",
        "mps",
        "xla",
        "tiny",
        "laptop",
        "gpu",
        "simulator",
        "twitch",
        "4GB",
        "-4GB",
        "4 GB",
        "101%",
        "0%",
    ),
    *(
        "volumes",
        "everything",
        "local",
        "prod",
        "json",
        "slack",
        "*",
        "?",
        "smollm2-135m@",
        "org/name",
        "org/name@",
        "a/b/c@d",
        "@",
        "@/",
    ),
)


def odd_values(seed: int, count: int) -> list[str]:
    """`count` values: those of ODD in a seeded order, then mixtures.

    None holds a NUL, which no program can be given. No value is a folder of many files, which a command would have to look
    through: a mixture never begins with a slash.
    """
    rng = random.Random(seed)
    values = rng.sample(ODD, min(count, len(ODD)))
    while len(values) < count:
        parts = rng.choices(ODD, k=rng.randint(2, 3))
        mixed = "".join(part[:40] for part in parts)
        cut = sorted(rng.sample(range(len(mixed) + 1), 2)) if len(mixed) > 1 else [0, len(mixed)]
        values.append(mixed[cut[0] : cut[1]].lstrip("/."))
    return values
