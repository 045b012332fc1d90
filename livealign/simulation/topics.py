"""Words of the 24 topics, four for each genre of `vocabulary.GENRES`.

Phrases are separated by `|`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """Words of one topic: nouns, verb phrases in base form, and clauses.

    `chinese` and `spanish` are nouns for viewers who write those languages.
    """

    genre: str
    name: str
    things: str
    acts: str
    events: str
    chinese: str
    spanish: str


TOPICS: tuple[Topic, ...] = (
    Topic(
        "games",
        "survival shooter",
        "shotgun|red zone|supply drop|sniper rifle|old harbor|armor vest|smoke grenade|parachute|final circle|rooftop"
        "|ammo|jeep",
        "drop into the old harbor|loot the second floor|rotate to the circle|revive our teammate|hold the rooftop"
        "|push that squad|throw the smoke|drive through the bridge|snipe the guy on the hill|camp behind the rock",
        "the zone closes on us|somebody shoots from the ridge|the whole squad goes down"
        "|the supply drop lands right here|my rifle runs dry|footsteps come up the stairs|only four players are left"
        "|the jeep explodes",
        "吃鸡|狙击枪|空投|毒圈",
        "la escopeta|el francotirador|la zona roja",
    ),
    Topic(
        "games",
        "farm simulator",
        "pumpkin field|greenhouse|chicken coop|watering can|fishing pond|scarecrow|barn|cheese press|harvest festival"
        "|seed bag|tractor|beehive",
        "water the pumpkins|feed the chickens|upgrade the barn|plant the winter seeds|milk the cows"
        "|give the mayor a gift|sell the strawberries|fence in the goats|collect the honey|decorate the farmhouse",
        "the crows eat the crop|a new villager moves in|it rains on the greenhouse|the cow finally has a calf"
        "|autumn begins tomorrow|the harvest festival starts|the merchant comes by|my energy bar is empty",
        "种田|温室|小鸡|丰收节",
        "la granja|la cosecha|las gallinas",
    ),
    Topic(
        "games",
        "chess",
        "queen|bishop pair|endgame|opening|passed pawn|rook|knight fork|sicilian defence|clock|checkmate|gambit|fianchetto",
        "castle on the queen side|sacrifice the exchange|trade the bishops|push the passed pawn|take the center"
        "|calculate the fork|offer a draw|solve the puzzle|premove the recapture|double the rooks",
        "the queen is hanging|black resigns|he blunders the knight|my flag almost falls|the pin costs a piece"
        "|white gets mated in three|the endgame is a dead draw|a grandmaster joins the game",
        "象棋|将军|皇后|开局",
        "el alfil|jaque mate|la dama",
    ),
    Topic(
        "games",
        "dragon raid",
        "dragon egg|healer|mana potion|boss room|enchanted sword|guild bank|mount|raid leader|lava floor|fire breath"
        "|rune|dungeon key",
        "pull the boss|interrupt the fire breath|heal the tank|stack behind the dragon|enchant the sword"
        "|roll for the egg|dodge the lava|summon the guild|clear the second wing|buff the mages",
        "the dragon takes off|the tank drops dead|the egg hatches|half of the guild wipes|the loot goes to the rogue"
        "|a rare mount drops|phase three begins|the healers run out of mana",
        "巨龙|副本|奶妈|坐骑",
        "el dragón|la mazmorra|el sanador",
    ),
    Topic(
        "music",
        "acoustic guitar",
        "guitar|capo|fingerpicking|steel string|ballad|open tuning|chord change|campfire song|strumming pattern"
        "|fretboard|slide|pick",
        "tune the low string|move the capo up|fingerpick the intro|strum the bridge|bend that note"
        "|learn the barre chord|play the old ballad|change to open tuning|mute with the palm|add the harmony",
        "a string snaps|my fingertips hurt|the capo slips|the ballad makes everyone cry|the bridge comes in"
        "|the chord finally rings|the neck needs adjusting|the fingerpicking falls apart",
        "吉他|民谣|和弦|弹唱",
        "la guitarra|el acorde|la balada",
    ),
    Topic(
        "music",
        "freestyle rap",
        "beat|punchline|rhyme scheme|cypher|bass drop|verse|turntable|hook|flow|battle|ad-lib|mixtape",
        "spit sixteen bars|flip the sample|rhyme on your words|battle the next caller|drop the bass|switch the flow"
        "|scratch the record|write the hook|freestyle about the chat|double the tempo of the verse",
        "the beat switches|he loses the rhyme|the crowd goes wild at the punchline|the sample loops wrong"
        "|the bass shakes the desk|my verse runs too long|a new caller joins the cypher|the hook gets stuck",
        "说唱|押韵|节奏|freestyle",
        "el ritmo|la rima|la batalla",
    ),
    Topic(
        "music",
        "piano classics",
        "grand piano|nocturne|sonata|left hand|pedal|waltz|sheet music|prelude|octave|concerto|arpeggio|keyboard",
        "practice the left hand|pedal through the waltz|sight-read the sonata|play the nocturne|stretch for the octave"
        "|turn the page|repeat the slow movement|voice the top note|roll the arpeggio|memorize the prelude",
        "the page falls down|the pedal squeaks|the fugue gets complicated|the slow movement begins"
        "|I miss the high octave|the left hand takes the theme|the final cadence arrives|the piano needs a tuner",
        "钢琴|夜曲|奏鸣曲|肖邦",
        "el piano|la sonata|el nocturno",
    ),
    Topic(
        "music",
        "dance practice",
        "choreography|mirror wall|spin|footwork|formation|sneakers|hip hop step|body wave|speaker|stretching mat|jump"
        "|dance cover",
        "count the eight beats|spin on the left foot|repeat the body wave|stretch the shoulders|learn the formation"
        "|film the dance cover|jump on the snare|clean the footwork|freeze on the last beat|teach the slow version",
        "I fall out of the spin|the speaker cuts out|the whole formation clicks|my knees give up"
        "|the second verse speeds up|the floor gets slippery|the cover hits a million views|the music starts too early",
        "舞蹈|编舞|转圈|热身",
        "el baile|la coreografía|el giro",
    ),
    Topic(
        "food",
        "hand-pulled noodles",
        "noodle dough|beef broth|chili oil|wok|rolling pin|dumpling|star anise|scallion|steamer|soy marinade"
        "|rice vinegar|bone stock",
        "pull the dough again|skim the broth|fry the scallions|fold the dumplings|toast the chili|boil the noodles"
        "|slice the beef thin|dust the table with flour|stretch one long noodle|pour the hot oil",
        "the dough tears|the broth boils over|the chili makes me cough|the noodles come out perfect"
        "|the wok catches fire|the dumplings stick|the whole family slurps|the flour gets everywhere",
        "拉面|牛肉汤|饺子|辣椒油",
        "los fideos|el caldo|el picante",
    ),
    Topic(
        "food",
        "cake baking",
        "sponge cake|buttercream|piping bag|oven|vanilla pod|chocolate glaze|cake stand|egg whites|wedding cake"
        "|sugar flower|sourdough|baking tin",
        "whip the egg whites|pipe the roses|preheat the oven|melt the chocolate|fold in the flour|stack the layers"
        "|crumb coat the cake|temper the glaze|knead the sourdough|sift the sugar",
        "the sponge sinks|the buttercream splits|the glaze runs down|the oven beeps|the layers slide apart"
        "|the crust turns golden|the sugar flower breaks|the birthday cake is done",
        "蛋糕|奶油|烤箱|巧克力",
        "el pastel|el horno|la crema",
    ),
    Topic(
        "food",
        "street barbecue",
        "charcoal grill|lamb skewer|smoker|brisket|cumin|rib rack|marinade|night market stall|tongs|corn|squid|bottle of beer",
        "flip the skewers|light the charcoal|smoke the brisket|brush on the marinade|grill the squid|rub in the cumin"
        "|rest the meat|serve the next customer|fan the flames|chop the ribs",
        "the fat drips on the coals|the queue goes round the corner|the brisket stalls at seventy degrees"
        "|the skewers sell out|smoke blows in my eyes|the lamb starts to sizzle|the neighbors come over"
        "|the rain hits the grill",
        "烧烤|羊肉串|孜然|啤酒",
        "la parrilla|las costillas|el carbón",
    ),
    Topic(
        "food",
        "coffee and tea",
        "espresso|milk foam|grinder|pour-over|oolong|tea cake|latte art|portafilter|gaiwan|roast|crema|kettle",
        "pull a double shot|steam the milk|pour a swan|grind a little finer|rinse the oolong|weigh the beans"
        "|bloom the coffee|tamp it level|cup the new roast|brew the third infusion",
        "the shot runs too fast|the foam collapses|the swan looks like a duck|the first crack starts"
        "|the oolong opens up|the grinder jams|the crema is thick as honey|the kettle whistles",
        "咖啡|拉花|乌龙茶|手冲",
        "el café|la espuma|el té",
    ),
    Topic(
        "outdoors",
        "river fishing",
        "rod|carp|bait|float|lure|reel|landing net|riverbank|trout|hook|bite alarm|pike",
        "cast to the far bank|set the hook|change the bait|reel it in slowly|net the carp|tie a new leader"
        "|feed the swim|release the trout|watch the float|wade across the shallows",
        "the float goes under|the line snaps|a huge carp jumps|the pike spits the lure|nothing bites for an hour"
        "|the reel screams|the net tangles|a heron steals the bait",
        "钓鱼|鲤鱼|鱼饵|上钩",
        "la carpa|el anzuelo|la caña",
    ),
    Topic(
        "outdoors",
        "mountain hiking",
        "summit|ridge|switchback|glacier|trekking pole|crampon|base camp|avalanche sign|alpine hut|cairn|cliff|elevation gain",
        "reach the summit|traverse the ridge|climb the switchbacks|cross the glacier|set up base camp|follow the cairns"
        "|scramble up the gully|adjust the crampons|look over the cliff|filter some stream water",
        "clouds swallow the summit|a stone comes loose|the ridge gets narrow|an ibex crosses the path"
        "|my legs are shaking|the hut comes into view|thunder rolls over the pass|the glacier cracks",
        "登山|山顶|冰川|徒步",
        "la cumbre|el glaciar|la montaña",
    ),
    Topic(
        "outdoors",
        "city night walk",
        "night market|alley|neon sign|subway exit|old temple|food stall|rickshaw|street performer|harbor view|crosswalk"
        "|souvenir shop|ferry",
        "cross at the neon sign|enter the night market|take the last ferry|find the old temple|ask a local for the way"
        "|ride the subway two stops|film the street performer|haggle for a souvenir|get lost in the alley"
        "|try the first stall",
        "the neon lights switch on|a scooter nearly hits me|the street performer starts to sing|the alley is a dead end"
        "|the crowd pours out of the subway|the shopkeeper waves at you|the temple bell rings"
        "|the ferry leaves without us",
        "夜市|霓虹灯|小巷|地铁",
        "la ciudad|el mercado nocturno|el callejón",
    ),
    Topic(
        "outdoors",
        "wild camping",
        "tent|campfire|sleeping bag|axe|tarp|bushcraft knife|hammock|owl|firewood|tent peg|lantern|mosquito net",
        "pitch the tent|split the firewood|hang the tarp|light a fire with flint|boil the pine needles|carve a spoon"
        "|peg down the corners|hang the food in a tree|string up the hammock|whittle a peg",
        "an owl calls above us|the tent blows over|the fire finally catches|something rustles in the bushes"
        "|the stars come out|the sleeping bag gets wet|a fox visits the camp|the lantern dies",
        "露营|帐篷|篝火|吊床",
        "la tienda|la fogata|el bosque",
    ),
    Topic(
        "crafts",
        "watercolor painting",
        "brush|watercolor paper|ultramarine|portrait|wash|palette|sketchbook|landscape|masking fluid|skin tone|easel|pigment",
        "wet the paper|mix the ultramarine|paint the shadows|lift out the highlight|glaze the sky|block in the portrait"
        "|splatter the foreground|soften that edge|rinse the brush|layer the skin tones",
        "the wash blooms|the paper buckles|the blue turns muddy|the eyes come alive|paint drips on the portrait"
        "|the brush loses a hair|the sky dries too quickly|the masking tape rips the edge",
        "水彩|画笔|肖像|颜料",
        "la acuarela|el pincel|el retrato",
    ),
    Topic(
        "crafts",
        "knitting and crochet",
        "yarn|crochet hook|sweater|cable stitch|ball of wool|scarf|needle|amigurumi|row counter|mohair|sock heel|button band",
        "cast on sixty stitches|purl the next row|turn the heel|unravel the sleeve|wind the yarn|crochet the bunny ears"
        "|block the scarf|count the cable|join the second color|weave in the ends",
        "I drop a stitch|the cat steals the wool|the sleeve is too long|the yarn runs out|the cable crosses wrong"
        "|the bunny gets its face|the sock actually fits|the pattern repeats",
        "毛线|钩针|毛衣|围巾",
        "la lana|el ganchillo|el suéter",
    ),
    Topic(
        "crafts",
        "woodworking",
        "hand plane|dovetail|walnut board|chisel|table saw|clamp|mortise|shavings|wood oil|stool|lathe|grain",
        "cut the dovetails|plane the edge|sharpen the chisel|glue up the panel|turn the bowl|chop the mortise"
        "|oil the walnut|rip the board|clamp the frame|flatten the top",
        "the board splits|the chisel slips|the joint closes with no gap|sawdust fills the air|the clamp lets go"
        "|the grain tears out|the bowl flies off the lathe|the walnut darkens with oil",
        "木工|凿子|胡桃木|榫卯",
        "la madera|el cincel|el nogal",
    ),
    Topic(
        "crafts",
        "electronics repair",
        "soldering iron|circuit board|capacitor|phone screen|multimeter|battery|flux|microscope|ribbon cable"
        "|game console|short circuit|firmware",
        "solder the connector|replace the battery|probe the test point|reflow the chip|pry open the case"
        "|swap the screen|trace the short|flash the firmware|clean off the corrosion|reball the processor",
        "the fuse blows|smoke comes out of the board|the screen lights up|the ribbon cable tears"
        "|the voltage drops to zero|the console boots again|a tiny screw goes missing|the chip gets too hot",
        "焊接|电路板|手机屏|电池",
        "la batería|la placa|el soldador",
    ),
    Topic(
        "lifestyle",
        "makeup and skincare",
        "foundation|lipstick|eyeliner|serum|sunscreen|blush|face mask|concealer|eyeshadow palette|brush set"
        "|setting spray|lash curler",
        "blend the foundation|draw the wing|swatch the lipsticks|layer the serum|contour the cheeks|curl the lashes"
        "|test the sunscreen|cover the redness|peel off the mask|bake under the eyes",
        "the eyeliner smudges|the shade looks orange|the serum stings|the lipstick survives dinner|my wing is uneven"
        "|the blush gives me life|the mask dries solid|the palette shatters",
        "口红|粉底|眼线|面膜",
        "el labial|el delineador|la base",
    ),
    Topic(
        "lifestyle",
        "jade and jewelry",
        "jade bracelet|rough stone|pearl|ring size|gold chain|certificate|pendant|emerald|auction hammer|magnifier"
        "|silver clasp|carving",
        "cut the rough stone|weigh the gold|hold the jade to the light|polish the pendant|check the certificate"
        "|start the auction|match the pearls|measure your ring size|bargain with the owner|set the emerald",
        "the stone turns green inside|a crack shows up|the bid doubles|the boss says no deal"
        "|the pearls roll off the table|the certificate is fake|the carving sparkles|the hammer falls",
        "翡翠|原石|珍珠|手镯",
        "el jade|las perlas|el anillo",
    ),
    Topic(
        "lifestyle",
        "fitness class",
        "dumbbell|plank|squat|yoga mat|resistance band|heart rate|warm-up|burpee|protein shake|core|kettlebell|rest day",
        "hold the plank|squat below parallel|breathe into the pose|jump the burpees|swing the kettlebell"
        "|stretch the hamstrings|keep the core tight|finish the last set|lower the dumbbells slowly|roll out the mat",
        "my arms are burning|the timer shows ten seconds|the heart rate hits one eighty|my form breaks down"
        "|the last set begins|sweat drips on the mat|the coach adds five burpees|everybody collapses",
        "健身|深蹲|瑜伽|燃脂",
        "las sentadillas|la plancha|el entrenamiento",
    ),
    Topic(
        "lifestyle",
        "relationship advice",
        "breakup|first date|trust|mother-in-law|text message|wedding|jealousy|long distance|apology|red flag"
        "|best friend|argument",
        "call the ex|say sorry first|read the caller's letter|set a boundary|talk about the money"
        "|ask her what she wants|block his number|meet the parents|give it another chance|listen without judging",
        "he reads the message and never replies|the caller starts crying|she says yes|the mother-in-law moves in"
        "|they break up by text|the best friend knows everything|the truth comes out|two people fall in love again",
        "分手|恋爱|婆婆|前任",
        "la pareja|la ruptura|los celos",
    ),
)
