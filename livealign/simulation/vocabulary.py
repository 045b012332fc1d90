"""Words of the six genres, and of every room.

Phrases are separated by `|`. A genre's words are shared by its four topics (`topics.TOPICS`), so no single word reveals a
topic.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Genre:
    """Words that all topics of the genre use."""

    name: str
    things: str
    acts: str
    hows: str  # ways to do something
    states: str  # what a thing may be


GENRES: tuple[Genre, ...] = (
    Genre(
        "games",
        "lobby|ranked match|loadout|leaderboard|patch|replay",
        "warm up with the squad|climb the ladder|mute the lobby|grind one more round",
        "without any voice chat|on the last try|with the default settings|before the server resets|in under three minutes"
        "|against much better players|with half the health|while the squad is away",
        "totally broken|nerfed again|worth the grind|hard to counter|free this week|stronger than it looks",
    ),
    Genre(
        "music",
        "chorus|microphone|setlist|metronome|encore|melody",
        "take one more request|slow down the tempo|record a second take|sing along with the chat",
        "with the lights down|half a tone lower|in one single take|without the backing track|just like the old record"
        "|softly at first|with the whole chat|from memory",
        "out of tune|louder than last time|simply beautiful|stuck in my head|older than me|hard to get right",
    ),
    Genre(
        "food",
        "kitchen|salt|timer|recipe|sauce|plate",
        "taste it first|clean the counter|read out the recipe|weigh everything twice",
        "on a low heat|with a pinch of salt|just like my grandmother|without burning it|for exactly ten minutes"
        "|while it is still hot|with both hands|on a tiny budget",
        "almost ready|far too hot|smelling wonderful|a bit too salty|fresh from the market|better the next day",
    ),
    Genre(
        "outdoors",
        "backpack|weather|trail|jacket|sunset|thermos",
        "walk a little further|check the weather again|turn the camera around|rest for a minute",
        "before it gets dark|in this strong wind|with cold hands|along the water|without any signal|very quietly"
        "|at first light|even in the rain",
        "soaking wet|quite far away|colder than I thought|so peaceful|hidden in the fog|really steep",
    ),
    Genre(
        "crafts",
        "workbench|pencil|template|glue|ruler|toolbox",
        "sketch the outline|sand it down|measure it again|tidy the workbench",
        "with a steady hand|millimetre by millimetre|in two thin layers|without any rush|from scrap material"
        "|under the lamp|one side at a time|following the grid",
        "slightly crooked|nearly dry|really delicate|harder than it seems|made by hand|good enough to sell",
    ),
    Genre(
        "lifestyle",
        "mirror|discount|parcel|wardrobe|price|story",
        "open the next parcel|compare the prices|answer your messages|show it up close",
        "for half the price|in natural light|on a busy morning|without any filter|before the offer ends|with all honesty"
        "|for sensitive people|on my own advice",
        "sold out already|worth every cent|so comfortable|a little too much|back in stock|trending everywhere",
    ),
)

OPENERS = (
    "okay everyone|alright|so|now watch|listen|guys|honestly|let me show you|here we go|you know what|wait a second|this time"
    "|step by step|trust me|my friends|for the new ones here"
)
CLOSERS = (
    "that is the whole trick|I promise|you will see|no joke|that is what I always say|let us find out|tell me what you think"
    "|do not try it alone|this is the best part|and then we are done|it never gets old|just like I told you|slowly does it"
    "|wish me luck"
)
HABITS = "always|never|usually|often|only|sometimes"
FILLERS = (
    "welcome to everyone who just came in|thank you so much for the gift|do not forget to tap the heart"
    "|let me drink some water"
    "|how is the sound today|where are you all watching from|we are almost at the goal|the chat is so fast tonight"
    "|somebody asked about the schedule|I stream every evening around this time|give me one second"
    "|good evening to the old friends"
    "|share the room if you like it|my internet is a bit slow today|what time is it where you are"
    "|the moderators are doing great"
)
FILLER_TAILS = (
    "love you all|see you tomorrow|thanks for the support|really|as always|it helps a lot|do not be shy|we are a big family"
    "|okay let me continue|haha|just a moment|and now back to it"
)
CHEERS = "no way|unbelievable|this is it|oh my god|look at that|yes yes yes|clip that|I am speechless|that is the moment|wow"
PHRASES = (  # an author's habits of speech
    "my dear friends|you feel me|long story short|as the old saying goes|believe it or not|oh boy|easy peasy|word is word"
    "|and that is a fact|for real for real|bless you all|between you and me|hand on heart|mark my words"
    "|hear me out|no pressure"
    "|like my teacher said|as they say back home|what a life|step on it|sweet as honey|little by little|by the way|cheers"
)
SLANG = "lol|lmao|ngl|fr|bruh|omg|lets go|W|L|gg|ez|haha|pls|idk|yooo|based|so good|no shot"
EMOTES = "😂|🔥|❤️|😭|👏|👍|:Kappa:|:PogChamp:|:LUL:|:heart:|[rose]|[clap]|[cool]|🎉|💀|😍"
GREETINGS = "hi|hello|hey|good evening|first time here|just arrived|back again|I was late, what happened"
CITIES = "Lima|Osaka|Chengdu|Lagos|Berlin|Hanoi|Toronto|Cairo|Porto|Austin|Manila|Gdansk|Busan|Bogota|Leeds|Kazan"
FOREIGN = (
    "主播好厉害|哈哈哈哈|来了来了|加油加油|这也太强了吧|晚上好|第一次来|vamos crack|qué buena onda"
    "|saludos desde México|me encanta"
    "|jajajaja|что происходит|привет всем|красиво|すごい|こんばんは|可愛い|대박|안녕하세요|que lindo"
    "|salut tout le monde|lindo demais"
)
BOTS = (
    "Follow the channel to never miss a stream!|Rules: be kind, no links, no spam.|Type !socials for all links."
    "|Reminder: drink some water.|The stream goes on for another hour.|Type !rank to see your points.|Thanks for the follow!"
)
SPAM = (
    "cheap followers at bestfollow dot biz|free coins check my profile|I make 500 a day ask me how"
    "|visit my room for gifts|sub4sub"
)
CLICKBAIT = (
    "you will NOT believe what happens|last stream EVER??|giving away everything tonight|wait for the end"
    "|this changes everything"
    "|I was told not to show this|only today|the truth comes out"
)
TITLE_TAILS = "with chat|tonight|come and hang out|day by day|for beginners|no stress|live|the long way|part two|until I drop"
