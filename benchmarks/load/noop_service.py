"""The peer of `load/serving.py`: a BentoML service whose endpoint does nothing, with BentoML's own settings."""

import bentoml


@bentoml.service(name="noop")
class Noop:
    """Takes what /recommend takes and answers nothing."""

    @bentoml.api
    def nothing(self, user_id: int, k: int) -> dict:
        """A thread of BentoML's pool runs it, as for any endpoint that is not a coroutine."""
        return {}

    @bentoml.api
    async def nothing_async(self, user_id: int, k: int) -> dict:
        """The same on the event loop: the quickest that BentoML's own endpoints are."""
        return {}
