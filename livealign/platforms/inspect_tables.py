"""The landing tables that each platform can and cannot fill, in words for the user."""

from collections.abc import Mapping
from typing import NamedTuple

from livealign.landing.schema import TABLES


class Given(NamedTuple):
    """Whether a platform fills a table (yes, partly, no), how, and from which files."""

    can: str
    says: str
    needs: tuple[str, ...] = ()  # names of the adapter's file specs


def _chat(rooms: str, gifts: str) -> Mapping[str, Given]:
    """The tables that an archive of chats fills."""
    return {
        "rooms": Given("yes", rooms),
        "room_changes": Given("partly", "chapters, and recordings under another title, where the archive has them"),
        "authors": Given("partly", "the channels, without any attribute"),
        "users": Given("partly", "everyone who wrote that day, without any attribute"),
        "impressions": Given("partly", "none are logged: inferred from the channels live or recent when a viewer came"),
        "lists": Given("no", "only the service of LiveAlign logs them"),
        "plays": Given("partly", "inferred: the span of a viewer's messages; silent viewers are unknown"),
        "comments": Given("yes", "the whole chat with text, bots marked"),
        "speech": Given("partly", "no speech: the host's own chat messages stand for it"),
        "likes": Given("no", "chat archives have none"),
        "gifts": Given("partly", f"{gifts}, with their value where the archive has it"),
        "shares": Given("no", "chat archives have none"),
        "follows": Given("no", "chat archives have none"),
        "content_vectors": Given("no", "there are no vectors"),
        "frames": Given("partly", "pictures in frames/ beside a broadcast, named after their second: frames/90.jpg"),
    }


TABLES_OF: Mapping[str, Mapping[str, Given]] = {
    "simulator": {
        "rooms": Given("yes", "broadcasts with title, category and language"),
        "room_changes": Given("no", "a broadcast keeps its title and category"),
        "authors": Given("yes", "daily state of every host"),
        "users": Given("yes", "daily state of every viewer"),
        "impressions": Given("yes", "everything that was shown, with position and request"),
        "lists": Given("no", "only the service of LiveAlign logs them"),
        "plays": Given("yes", "watch sessions linked to their impression"),
        "comments": Given("yes", "comments with text, bots marked"),
        "speech": Given("yes", "what the hosts say"),
        "likes": Given("yes", "likes, one by one"),
        "gifts": Given("yes", "gifts with their value"),
        "shares": Given("yes", "shares"),
        "follows": Given("yes", "follows"),
        "content_vectors": Given("no", "the platform has no vectors of its own"),
        "frames": Given("partly", "drawn pictures, where it was simulated with --frames"),
    },
    "served": {
        "rooms": Given("yes", "broadcasts whose start was sent to the service"),
        "room_changes": Given("yes", "titles and categories sent while a broadcast runs"),
        "authors": Given("partly", "the hosts of these broadcasts, without any attribute"),
        "users": Given("partly", "everyone who did anything, with the country that requests gave"),
        "impressions": Given("yes", "what was shown, with request, position, score and model version"),
        "lists": Given("yes", "what the service showed, with its release, propensities and context"),
        "plays": Given("yes", "watch sessions, linked to their impression by the request id"),
        "comments": Given("yes", "comments with text, bots marked"),
        "speech": Given("yes", "what the hosts say, where a transcript was sent"),
        "likes": Given("yes", "likes, one by one or counted"),
        "gifts": Given("yes", "gifts, with their value where it was sent"),
        "shares": Given("yes", "shares"),
        "follows": Given("yes", "follows"),
        "content_vectors": Given("no", "the service is sent none"),
        "frames": Given("yes", "pictures sent to the service, as it has decoded them"),
    },
    "twitch": _chat("broadcasts with title; category where the archive or a bot gives it; no language", "bits"),
    "youtube": _chat("broadcasts with title and category where there is an info.json; no language", "super chats, memberships"),
    "bilibili": _chat("broadcasts with title and area where recorded; no language", "gifts, super chats, guards"),
    "chat": _chat("broadcasts of several sites, with title and category where the archive has them", "what each site has"),
    "kuailive": {
        "rooms": Given("yes", "broadcasts with category; no title text, no language", ("rooms",)),
        "room_changes": Given("no", "none are published"),
        "authors": Given("yes", "gender, age, country and follower bands, undated", ("authors",)),
        "users": Given("yes", "gender, age, country and follower bands, undated", ("users",)),
        "impressions": Given(
            "yes", "entered ones from click, others from negative; no position, no request", ("clicks", "negatives")
        ),
        "lists": Given("no", "only the service of LiveAlign logs them"),
        "plays": Given("yes", "clicks with their watch time; no source", ("clicks",)),
        "comments": Given("partly", "who commented when; no text is published", ("comments",)),
        "speech": Given("no", "no speech is published"),
        "likes": Given("yes", "likes, one by one", ("likes",)),
        "gifts": Given("yes", "gifts with their price", ("gifts",)),
        "shares": Given("no", "none are published"),
        "follows": Given("no", "none are published"),
        "content_vectors": Given("partly", "a vector of the title, the same for the whole broadcast"),
        "frames": Given("no", "no pictures are published"),
    },
    "kuailive_m3": {
        "rooms": Given("yes", "broadcasts with title; no category, no language", ("rooms",)),
        "room_changes": Given("no", "none are published"),
        "authors": Given("yes", "gender, age and follower bands, undated; no country", ("authors",)),
        "users": Given("partly", "their ids: there is no user profile", ("users",)),
        "impressions": Given(
            "yes", "entered ones from the plays, others from live_show; no position, no request", ("plays", "shows")
        ),
        "lists": Given("no", "only the service of LiveAlign logs them"),
        "plays": Given("yes", "watch sessions with their source", ("plays",)),
        "comments": Given("yes", "comments with text; bots are not marked", ("comments",)),
        "speech": Given("no", "no speech is published, only vectors that have heard it"),
        "likes": Given(
            "yes", "likes, one by one; without live_like the counts of each play, dated to its end", ("likes", "plays")
        ),
        "gifts": Given("partly", "counted per play and dated to its end; no price", ("plays",)),
        "shares": Given("yes", "shares that succeeded; without live_share one a play, dated to its end", ("shares", "plays")),
        "follows": Given("partly", "counted per play and dated to its end", ("plays",)),
        "content_vectors": Given(
            "yes",
            "128-d of each segment that had a viewer; 64-d of each broadcast, dated to its end because it may know all of it",
            ("segment_vectors", "room_vectors"),
        ),
        "frames": Given("no", "no pictures are published"),
    },
    "parquet": {
        **{name: Given("yes", "whatever is in files named after the table") for name in TABLES},
        "impressions": Given("yes", "whatever is in files named after the table; none are inferred"),
        "comments": Given("yes", "whatever is in files named after the table; names in texts are not masked"),
    },
    "liverec": {
        **{name: Given("no", "none are published") for name in TABLES},
        "rooms": Given("yes", "broadcasts, as long as a viewer was in their chat; no title, no category, no language"),
        "authors": Given("partly", "the streamers, without any attribute"),
        "users": Given("partly", "who was in a chat, without any attribute"),
        "impressions": Given("partly", "none are logged: inferred from a sample of the rooms live when a viewer came"),
        "lists": Given("no", "only the service of LiveAlign logs them"),
        "plays": Given("yes", "presence in the chat in steps of ten minutes"),
    },
}
