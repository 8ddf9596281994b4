"""Word lists shared by the story and probe generators. All of it is our own plain vocabulary."""

BOYS = "Tom Ben Max Leo Sam Finn Otto Jack Noah Hugo Emil Kai Theo Paul Rob Tim".split()
GIRLS = "Mia Anna Lily Emma Nora Ella Ruby Ida Zoe Lucy Clara Rosa Maya Eva Jane Tess".split()
ANIMALS = ("fox bear rabbit mouse owl cat dog duck frog hedgehog squirrel wolf deer goat hen "
           "turtle beaver badger crow sheep").split()
ANIMAL_NAMES = "Pip Milo Coco Fern Bruno Daisy Rusty Hazel Olly Pepper Toby Willow Nutmeg Biscuit Bella Moss".split()

# object -> what it is good for, used to keep a story consistent with its object
OBJECTS = {
    "lamp": ("light", "shine"), "lantern": ("light", "glow"), "candle": ("light", "burn"),
    "kite": ("toy", "fly"), "ball": ("toy", "bounce"), "boat": ("toy", "float"),
    "drum": ("music", "sound"), "bell": ("music", "ring"), "flute": ("music", "sing"),
    "key": ("tool", "turn"), "rope": ("tool", "hold"), "ladder": ("tool", "stand"),
    "bucket": ("tool", "hold"), "basket": ("tool", "hold"), "hammer": ("tool", "work"),
    "hat": ("wear", "fit"), "scarf": ("wear", "fit"), "coat": ("wear", "fit"),
    "book": ("read", "open"), "map": ("read", "unfold"), "letter": ("read", "open"),
    "clock": ("thing", "tick"), "cup": ("thing", "shine"), "box": ("thing", "open"),
    "stone": ("thing", "shine"), "blanket": ("wear", "fold"), "umbrella": ("wear", "open"),
    "cart": ("tool", "roll"), "wheel": ("tool", "roll"), "mirror": ("thing", "shine"),
}
COLORS = "red blue green yellow white black brown golden silver purple orange pink grey".split()
ADJ = ("small big old new little round heavy light soft warm bright shiny strange pretty strong "
       "simple wooden lovely plain fine").split()
MOODS = "happy sad brave kind shy clever quiet curious gentle cheerful careful funny patient lonely proud".split()
PLACES = ("forest garden village river hill meadow farm beach lake market mountain valley "
          "barn field mill island harbor orchard school library").split()
FOODS = "bread soup apples berries cheese honey cake nuts carrots pears porridge plums pie beans milk".split()
SEASONS = "spring summer autumn winter".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
WEATHER = "sunny rainy windy cloudy snowy foggy cold warm".split()

NOUNS = sorted(set(list(OBJECTS) + PLACES + ANIMALS + FOODS + (
    "tree leaf flower grass root branch seed cloud rain snow wind storm sun moon star sky night "
    "day morning evening road path bridge gate door window wall roof floor table chair bed shelf "
    "house home room kitchen tower castle well pond stream wave sand shell fish bird horse cow pig "
    "bee ant worm spider snake egg nest feather fire smoke ash wood coal iron gold silver glass "
    "paper pen ink paint brush color song dance game story word name number letter line circle "
    "square corner edge top bottom side front back hand foot head eye ear nose mouth tooth hair "
    "arm leg heart friend mother father sister brother king queen farmer baker sailor teacher "
    "doctor captain miller tailor shepherd coin bag sack bottle plate bowl spoon fork knife pot pan "
    "needle thread cloth button shoe sock glove ring crown shirt train ship plane car wagon sail "
    "anchor engine wheel gear spring nail screw saw axe shovel rake broom ticket stamp card note "
    "picture photo radio phone lemon onion tomato potato corn rice salt sugar pepper butter tea water "
    "juice pencil paper pillow towel soap brush comb mask tent flag fence ditch cave cliff rock dust "
    "mud ice frost shadow echo dream wish secret gift prize").split()))
VERBS = ("run walk jump sing swim climb dig build paint carry open close push pull find hide read "
         "write cook bake wash clean count draw throw catch plant water feed mend fold").split()

_ON = "b c d f g h j k l m n p r s t v w z br cl dr fl gr kr pl sh sl st th tr".split()
_VO = "a e i o u ai ea oo".split()
_CO = ["", "", "n", "r", "l", "s", "t", "m", "k", "nd"]


def pseudo(rng):
    """A made-up word: keeps copying from becoming a matter of knowing the words."""
    return "".join(rng.choice(_ON) + rng.choice(_VO) + rng.choice(_CO) for _ in range(rng.choice((1, 2, 2))))


def article(word):
    return "an" if word[0] in "aeiou" else "a"
