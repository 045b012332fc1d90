"""What lies where in a release, by name alone: for those who look at releases without loading a model."""

ALIGNMENT = "alignment.safetensors"
CODEBOOK = "codebook.npz"
RANKER = "ranker.safetensors"
CODE_NAMES = "code_names.json"
ADAPTER = "adapter"
VOCABULARY = "vocabulary"
SNAPSHOT = "snapshot"
REFERENCE = "reference"
HELD_OUT_SCORES = "held_out_scores.npz"

BENTOS = ("bentos", "live_recommender")  # folder of the Bentos below BENTOML_HOME, as `bentos.build` makes it
