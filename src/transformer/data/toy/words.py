"""The words and the small plots of the toy stories: what the grammar chooses from."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_SYLLABLES = _words(
    "Bel Bim Dor Fen Fil Gol Hob Jun Kel Lin Lum Mil Nim Pel Rim Sol Tam Tov Vik Zul"
)
LAST_SYLLABLES = _words("be bi bo fa fo ma mi mo na ni no pa po si so su va vi za zo")

SONG_SYLLABLES = _words("la li lu ra ri ru da du ta tu ma mi na ba zim bom")
SHORTEST_SONG, LONGEST_SONG = 4, 8

NUMBERS = _words("zero one two three four five six seven eight nine")

KINDS = _words("girl boy fox bear mouse rabbit frog owl duck goat cat turtle pony lamb mole beaver")

HOMES = (
    "by the sea", "near the old mill", "on a green hill", "by the river", "under a tall tree",
    "behind the bakery", "next to a garden", "in a quiet valley", "on a small farm",
    "far down the road", "in a blue house", "near a dark wood",
    "beside a little bridge", "on a tiny island",
)  # fmt: skip

COLOURS = _words("red blue yellow green white golden silver pink purple brown")

FOOD = {
    "apple": "apples", "pear": "pears", "plum": "plums", "nut": "nuts", "berry": "berries",
    "cherry": "cherries", "cake": "cakes", "carrot": "carrots",
}  # fmt: skip

TREASURE = {
    "shell": "shells", "stone": "stones", "feather": "feathers", "button": "buttons",
    "flower": "flowers", "bead": "beads", "key": "keys", "ribbon": "ribbons",
}  # fmt: skip

PLACES = (
    "in the grass", "on the path", "under a bush", "behind a rock", "near the gate",
    "beside a log", "by the well", "in an old boot",
)  # fmt: skip

TRAITS = {  # what the hero is like, and how that ends
    "shy": "was not shy any more",
    "lonely": "never felt lonely again",
    "sleepy": "fell asleep with a smile",
    "hungry": "ate two bowls of soup",
    "brave": "felt braver than ever",
    "clever": "made up a new verse",
    "merry": "laughed half the night",
    "proud": "told everyone about it",
    "grumpy": "forgot to be grumpy",
    "quiet": "hummed softly in bed",
    "curious": "asked for one more song",
    "gentle": "said good night to the moon",
}

TIMES = {  # of the day, by the weather
    "windy": ("day", "morning"),
    "rainy": ("day", "morning"),
    "foggy": ("day", "morning"),
    "snowy": ("day", "morning"),
    "sunny": ("day", "morning"),
    "dark": ("evening", "night"),
}

TROUBLES = {  # by the weather: what goes wrong and is put right, and how the day ends
    "windy": (
        ("The wind blew {friend}'s hat into a tree, but {hero} climbed up and got it.",
         "{friend} held {his} hat all the way home."),
        ("The wind took {friend}'s kite away, but {hero} ran after it and caught it.",
         "They flew the kite until it was dark."),
        ("{friend}'s boat drifted away, but {hero} threw {him} a rope.",
         "They tied the boat to a post."),
    ),
    "rainy": (
        ("Soon {friend} was wet and cold, so {hero} made a roof of leaves.",
         "They sat under the leaves until it stopped."),
        ("{friend} fell into a deep puddle, but {hero} pulled {him} out.",
         "They jumped over puddles on the way home."),
        ("{friend} was afraid of the thunder, so {hero} held {his} hand.",
         "At last the sun came out again."),
    ),
    "foggy": (
        ("{friend} got lost in the fog, so {hero} rang a bell for {him}.",
         "They rang the bell all the way home."),
        ("{friend} fell and hurt {his} nose, so {hero} put a leaf on it.",
         "Soon the nose was as good as new."),
        ("{friend} thought a bush was a monster, but {hero} walked up and shook it.",
         "They waved to the bush as they went home."),
    ),
    "snowy": (
        ("{friend} was very cold, so {hero} gave {him} a warm scarf.",
         "They shared the scarf all the way home."),
        ("{friend} got stuck in the deep snow, but {hero} dug {him} out.",
         "They made a snowman by the gate."),
        ("{friend} slipped on the ice and cried, so {hero} pulled {him} on a sled.",
         "They rode the sled down the hill."),
    ),
    "sunny": (
        ("{friend} was hot and thirsty, so {hero} brought {him} cool water.",
         "They rested in the shade until evening."),
        ("{friend} fell asleep in the sun, so {hero} held a big leaf over {him}.",
         "They used the leaf as a fan."),
        ("A bee chased {friend}, but {hero} showed it a field of flowers.",
         "The bee gave them a drop of honey."),
    ),
    "dark": (
        ("{friend} was afraid of the dark, so {hero} lit a small lamp.",
         "They let the lamp burn all night."),
        ("{friend} heard a noise, but {hero} found only a tiny cricket.",
         "They let the cricket sleep in a box."),
        ("{friend} could not find {his} door, so {hero} asked the stars for light.",
         "They counted stars until they fell asleep."),
    ),
}  # fmt: skip

SINGING = (  # the friend
    "{friend} was so glad that {he} sang:",
    "To say thank you, {he} sang:",
    "{He} laughed and sang:",
    "So {he} made up a song:",
)
PAUSES = (  # the song's last syllable sounds on
    "",
    "{hero} clapped. ",
    "An echo said {last} {last} {last}. ",
    "The wind hummed {last} {last}. ",
    "A bird cried {last} {last} {last}. ",
    "{hero} tapped along, {last} {last} {last}. ",
)
SINGING_AGAIN = (  # the hero
    "Then {hero} sang it too:",
    "So {hero} sang it back:",
    "Soon {hero} knew it and sang:",
    "{She} tried it too:",
)
