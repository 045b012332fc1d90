"""Download one model of the hub to a folder, as a process.

    python -m livealign.llm.hub org/name revision folder

Only weights as safetensors, the config and the tokenizer are fetched: no code, nothing pickled. The commit that the revision
stands for is printed.
"""

import shutil
import sys
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

PATTERNS = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.model", "*.txt", "LICENSE*", "*.md")


def main(repository: str, revision: str, folder: Path) -> str:
    """Download the files; returns the commit."""
    commit = str(HfApi().model_info(repository, revision=revision).sha)
    # "*" of a pattern also matches a slash; folders below the model (ONNX, quantised copies) are left out.
    snapshot_download(repository, revision=commit, local_dir=folder, allow_patterns=list(PATTERNS), ignore_patterns=["*/*"])
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return commit


if __name__ == "__main__":
    try:
        print(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
    except Exception as error:  # whatever it is, the caller shows it in one line
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
