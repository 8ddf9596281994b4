"""Story generator: a cast, a place, an object and one of a dozen plots; every beat of a plot has
several frames. Frames use {slots} that are filled from one state, so that the same characters,
object and place return from sentence to sentence."""
from words import *

PRON = {"he": ("he", "him", "his"), "she": ("she", "her", "her")}


class Cast:
    def __init__(self, rng, hero=None, obj=None, place=None):
        s = self.slots = {}
        self.rng = rng
        if hero is None:
            hero = ("animal", rng.choice(ANIMALS)) if rng.random() < 0.55 else ("child", None)
        used = set()
        for role in ("h", "f"):
            kind, name = hero if role == "h" else (("animal", None) if rng.random() < 0.6 else ("child", None))
            self._character(role, kind, name, used)
        obj = obj or rng.choice(list(OBJECTS))
        s["o"], s["oa"] = obj, article(obj)
        s["oc"] = rng.choice(COLORS if rng.random() < 0.6 else ADJ)
        s["oca"] = article(s["oc"])
        s["p"] = place or rng.choice(PLACES)
        s["p2"] = rng.choice([p for p in PLACES if p != s["p"]])
        s["w"] = rng.choice(WEATHER)
        s["wa"] = article(s["w"])
        s["season"] = rng.choice(SEASONS)
        s["day"] = rng.choice(DAYS)
        s["food"], s["food2"] = rng.sample(FOODS, 2)
        s["m"] = rng.choice(MOODS)
        s["ma"] = article(s["m"])
        s["m2"] = rng.choice([m for m in MOODS if m != s["m"]])
        s["n"] = rng.choice("two three four five six seven".split())

    def _character(self, role, kind, name, used):
        rng, s = self.rng, self.slots
        if kind == "child":
            girl = name in GIRLS if name else rng.random() < 0.5
            name = name or rng.choice([n for n in (GIRLS if girl else BOYS) if n not in used])
            word = "girl" if girl else "boy"
            ref = name
        else:
            word = name or rng.choice([a for a in ANIMALS if a not in used])
            girl = rng.random() < 0.5
            name = rng.choice([n for n in ANIMAL_NAMES if n not in used])
            ref = name if rng.random() < 0.6 else "the " + word
        used.update((name, word))
        he, him, his = PRON["she" if girl else "he"]
        s[role + "k"], s[role + "ka"], s[role + "name"], s[role] = word, article(word), name, ref
        s[role + "he"], s[role + "him"], s[role + "his"] = he, him, his
        s[role + "animal"] = kind == "animal"


def cap(text):
    """Capitalise sentence starts, also after an opening quote; not after a closing one ("..." she said)."""
    out, up, inside = [], True, False
    for c in text:
        if up and c.isalpha():
            c, up = c.upper(), False
        elif c in ".!?\n":
            up = True
        elif c == '"':
            inside = not inside
            up = up and inside
        out.append(c)
    return "".join(out)


OPEN_ANIMAL = [
    "Once upon a time there was {ma} {m} {hk} named {hname}.",
    "There was once {hka} {hk} called {hname} who lived near {thep}.",
    "{hname} was {ma} {m} {hk} who lived by {thep}.",
    "In a small house near {thep} lived {hka} {hk} named {hname}.",
    "Long ago, {ma} {m} {hk} named {hname} lived close to {thep}.",
    "A little {hk} named {hname} had a home near {thep}.",
    "Not far from {thep} lived {ma} {m} {hk}. {hHis} name was {hname}.",
]
OPEN_CHILD = [
    "Once upon a time there was {ma} {m} {hk} named {hname}.",
    "{hname} was {ma} {m} {hk} who lived in a house near {thep}.",
    "There was once a {hk} called {hname}. {hHe} lived close to {thep}.",
    "A little {hk} named {hname} lived with {hhis} mother near {thep}.",
    "In a small house by {thep} lived a {hk} named {hname}.",
    "{hname} lived with {hhis} grandmother not far from {thep}.",
]
LIKES = [
    "{hHe} liked to walk by {thep} every morning.",
    "{hHe} had many friends, but {hhis} best friend was {fka} {fk} named {fname}.",
    "Everyone in {theplace2} knew {hhim} well.",
    "{hHe} loved {food} more than anything else.",
    "{hHe} was small, but {hhe} was never afraid of work.",
    "Each day {hhe} looked for something new.",
    "In {season} {hhe} liked to sit in the sun and eat {food}.",
    "{hHe} always had time for a friend.",
]
DAY = [
    "One {w} {day}, {h} went to {thep}.", "One {w} morning, {h} walked to {thep}.",
    "On {wa} {w} day in {season}, {h} was {inp}.", "One {day} in {season}, {h} set out for {thep}.",
    "Early one morning, {h} took the path to {thep}.", "It was {wa} {w} day, and {h} was on {hhis} way to {thep}.",
    "One {w} evening in {season}, {h} came home from {thep}.",
]
FIND = [
    "There {hhe} found {oca} {oc} {o} in the grass.", "Under a tall tree {hhe} saw {oca} {oc} {o}.",
    "On the ground lay {oca} {oc} {o}.", "Behind a big stone {hhe} found {oca} {oc} {o}.",
    "{hHe} saw something strange. It was {oca} {oc} {o}!", "Next to the road {hhe} found {oca} {oc} {o}.",
]
OWN = [
    "{hHe} had {oca} {oc} {o} that {hhe} loved very much.", "{hHis} favorite thing was {oca} {oc} {o}.",
    "{hHis} mother had given {hhim} {oca} {oc} {o}.", "{hHe} always carried {oca} {oc} {o} with {hhim}.",
    "For {hhis} birthday {hhe} got {oca} {oc} {o}.", "{hHe} had made {oca} {oc} {o} all by {hself}.",
]
MEET = [
    "On the way {hhe} met {fka} {fk} named {fname}.", "Just then {fka} {fk} named {fname} came along.",
    "Near {thep} {hhe} met {hhis} friend {fname}, {fka} {fk}.", "{fCapka} {fk} named {fname} was sitting by the road.",
    "Soon {fka} {fk} came down the path. {fHis} name was {fname}.",
]
THANKS = [
    "\"Thank you, {fname},\" said {h}.", "\"You are a good friend,\" said {h}.", "\"Thank you for your help,\" {h} said with a smile.",
    "\"I could not have done it alone,\" said {h}.", "\"What would I do without you?\" said {h}.",
]
REPLY = [
    "\"That is what friends are for,\" said {f}.", "\"It was nothing,\" said {f}.", "\"We did it together,\" said {f}.",
    "\"I am glad I could help,\" {f} said.", "\"Next time you can help me,\" said {f}.", "{f} only smiled.",
]
SHARE = [
    "Then they sat down and shared some {food}.", "They went home and ate {food} and {food2}.",
    "In the evening they made {food} and talked for a long time.", "They shared the last of the {food} and laughed.",
    "After that they had {food} together.", "{h} gave {f} some {food}, and they were both happy.",
]
END = [
    "From that day on, {h} and {f} were the best of friends.", "And {h} never forgot that day.",
    "That night {h} slept very well.", "And the {o} was never lost again.", "From then on they met every {day}.",
    "It was the best day of the {season}.", "{h} was tired, but {hhe} was very happy.",
    "And when the stars came out, they were still smiling.", "And that is how {h} and {f} became friends.",
    "When {hhe} told {hhis} mother about it, she smiled.", "The end.",
]
MORAL = [
    "{h} learned that a friend is worth more than {oa} {o}.", "{h} learned that it is good to ask for help.",
    "Now {hhe} knew that small friends can do big things.", "{h} learned to be more careful.",
    "{hHe} had learned that kind words open many doors.", "And {h} learned that waiting can be wise.",
]

PLOTS = {
    "lost": [
        OWN, DAY,
        ["But when {hhe} came home, the {o} was gone.", "Suddenly the {o} was not there any more.", "When {hhe} looked in {hhis} bag, the {o} was gone.",
         "On the way back {hhe} saw that the {o} was missing."],
        ["\"Oh no! Where is my {o}?\" cried {h}.", "\"I have lost my {o},\" {hhe} said, and {hhe} began to cry.", "\"My {oc} {o} is gone!\" said {h}.",
         "{h} was very sad, because {hhe} loved the {o}."],
        MEET,
        ["\"Why are you sad?\" asked {f}. \"I have lost my {o},\" said {h}.", "\"What is wrong?\" asked {f}. \"I cannot find my {o},\" {h} said.",
         "\"Can I help you?\" asked {f}. \"Yes, please. My {o} is gone,\" said {h}."],
        ["\"Let us look for it together,\" said {f}.", "\"Do not cry. We will find it,\" said {f}.", "\"Where did you see it last?\" asked {f}. \"{inp},\" said {h}."],
        ["They looked under the bushes and behind the stones.", "They looked {inp}, but it was not there. Then they went to {thep2}.",
         "They looked for a long time.", "First they looked by the well, and then they looked under the bridge."],
        ["At last {f} saw something {oc} under a leaf. It was the {o}!", "Then {h} saw it. The {o} was lying next to an old tree.",
         "In the end they found the {o} {inp2}.", "\"Look, there it is!\" cried {f}. The {o} was hanging in a tree."],
        THANKS, REPLY, SHARE, END],
    "broken": [
        OWN, DAY,
        ["But {hhe} fell over a root, and the {o} broke.", "Then the {o} fell to the ground and broke.", "A strong wind came, and the {o} broke in two.",
         "But the {o} hit a stone, and now it was broken."],
        ["\"My poor {o}!\" cried {h}.", "\"Now my {o} is broken,\" said {h}. {hHe} did not know what to do.", "{h} looked at the broken {o} and was sad."],
        MEET,
        ["{fHe} was very good at mending things.", "\"May I see it?\" asked {f}.", "\"What happened?\" asked {f}. \"My {o} is broken,\" said {h}."],
        ["\"I think we can mend it,\" said {f}.", "\"Give me a hand, and we will fix it,\" said {f}.", "\"It is not so bad. We need some glue and some time,\" said {f}."],
        ["They worked all day.", "{h} held the {o}, and {f} worked with great care.", "They used some string and a small piece of wood.",
         "First they cleaned it, and then they put the pieces together."],
        ["In the evening the {o} was as good as new.", "At last the {o} was whole again.", "Soon the {oc} {o} looked better than before."],
        THANKS, REPLY, SHARE, MORAL, END],
    "stuck": [
        DAY, ["Then {hhe} heard a voice. \"Help! Help!\"", "There {hhe} heard somebody cry for help.", "Suddenly {hhe} heard a small voice."],
        ["It was {fka} {fk} named {fname}. {fHe} had fallen into a deep hole.", "{fCapka} {fk} named {fname} was stuck in the mud.",
         "{fCapka} {fk} named {fname} was sitting high in a tree and could not come down.", "{fCapka} {fk} named {fname} was stuck under a big branch."],
        ["\"Please help me,\" said {f}.", "\"I have been here since yesterday,\" said {f}.", "\"I cannot get out,\" {f} said."],
        ["\"Do not be afraid,\" said {h}. \"I will help you.\"", "\"Wait, I have an idea,\" said {h}.", "{h} thought for a moment. Then {hhe} had an idea."],
        ["{hHe} ran home and came back with {oca} {oc} {o}.", "In {hhis} bag {hhe} had {oca} {oc} {o}.", "Near the path {hhe} found {oca} {oc} {o}."],
        ["With the {o} {hhe} could reach {fhim}.", "{hHe} held out the {o}, and {f} took it.", "{hHe} used the {o}, and it worked."],
        ["{h} pulled and pulled. At last {f} was free.", "It took a long time, but then {f} was free.", "One, two, three, and {f} was out!"],
        ["\"You saved me,\" said {f}. \"How can I thank you?\"", "\"Thank you, thank you!\" cried {f}.", "\"You are very brave,\" said {f}."],
        ["\"Just be my friend,\" said {h}.", "\"You would do the same for me,\" said {h}.", "\"Come home with me and have some {food},\" said {h}."],
        SHARE, END],
    "dark": [
        ["One evening {hhe} stayed too long {inp}.", "One day {h} went for a long walk {inp}, and it got late.", "One {w} evening {h} wanted to visit a friend on the other side of {thep}."],
        ["Soon it was dark, and {hhe} could not see the path.", "The sun went down, and it was very dark.", "It got darker and darker, and {hhe} lost {hhis} way."],
        ["\"I am afraid,\" {hhe} said softly.", "\"Where is my house?\" {hhe} asked, but nobody answered.", "{h} was cold and afraid."],
        ["Then {hhe} saw a small light between the trees.", "Suddenly there was a light far away.", "Then {hhe} heard steps."],
        ["It was {fka} {fk} named {fname}, who carried {oca} {oc} {o}.", "{fCapka} {fk} named {fname} came with {oca} {oc} {o} in one hand.", "There stood {fka} {fk} named {fname} with {oca} {oc} {o}."],
        ["\"Are you lost?\" asked {f}. \"Yes, I am,\" said {h}.", "\"What are you doing here so late?\" asked {f}. \"I cannot find my way home,\" said {h}."],
        ["\"Come with me. I know the way,\" said {f}.", "\"Take my hand,\" said {f}. \"I will bring you home.\"", "\"Follow me and stay close,\" said {f}."],
        ["They walked over the bridge and past {thep2}.", "They walked slowly and told each other stories.", "They sang a song, and {h} was not afraid any more."],
        ["After a while {h} saw {hhis} own house.", "Soon they stood in front of the door of {h}.", "At last they were home."],
        THANKS,
        ["\"Keep the {o},\" said {f}. \"You may need it again.\"", "{f} gave {hhim} the {o} as a gift.", "\"The {o} is yours now,\" said {f}."],
        END],
    "find": [
        DAY, FIND,
        ["\"Whose {o} is this?\" {hhe} said.", "{hHe} picked it up and looked at it for a long time.", "\"What a {oc} {o}!\" {hhe} said."],
        ["{hHe} wanted to keep it, but {hhe} knew that somebody missed it.", "\"Somebody must be looking for it,\" {hhe} thought.", "It was not {hhis}, so {hhe} wanted to find the owner."],
        ["First {hhe} asked the baker, but it was not his {o}.", "{hHe} asked at every house near {thep}.", "{hHe} asked {n} people, but nobody knew the {o}."],
        ["Then {hhe} met {fka} {fk} named {fname} who looked very sad.", "At the well sat {fka} {fk} named {fname}, who was crying."],
        ["\"Is this your {o}?\" asked {h}.", "\"Did you lose {oca} {oc} {o}?\" asked {h}."],
        ["\"Yes! That is my {o}!\" cried {f}.", "{f} jumped for joy. \"You found my {o}!\"", "\"My {o}! I looked for it all day,\" said {f}."],
        ["\"You are very honest,\" said {f}.", "\"Thank you for bringing it back,\" said {f}.", "\"You could have kept it, but you did not,\" said {f}."],
        SHARE, MORAL, END],
    "share": [
        OWN, ["One day {fka} {fk} named {fname} came to visit.", "Then {fka} {fk} named {fname} moved into the house next door.", "One {day} {fka} {fk} named {fname} came by."],
        ["\"May I hold your {o}?\" asked {f}.", "\"What a nice {o}! May I use it?\" asked {f}.", "\"Can I play with the {o} too?\" asked {f}."],
        ["\"No, it is mine,\" said {h}.", "\"No! You will break it,\" said {h}.", "{h} did not want to share."],
        ["{f} went away and was sad.", "{f} said nothing and walked home.", "So {f} sat alone under a tree."],
        ["But soon {h} was alone, and the {o} was no fun at all.", "After a while {h} felt bad.", "{h} looked at the {o}. It was not so nice to be alone."],
        ["So {hhe} went to find {f}.", "{hHe} took the {o} and ran after {fhim}.", "The next day {hhe} went to the house of {f}."],
        ["\"I am sorry,\" said {h}. \"Let us share the {o}.\"", "\"Here is the {o}. You may have it first,\" said {h}.", "\"I was not kind. Please come back,\" said {h}."],
        ["{f} was glad.", "\"Thank you,\" said {f}. \"I will be careful.\"", "\"That is all right,\" said {f}."],
        ["All afternoon they played with the {o}.", "Now the {o} was much more fun.", "They used the {o} together until the sun went down."],
        SHARE, MORAL, END],
    "storm": [
        DAY, ["Dark clouds came over {thep}.", "Suddenly a big storm came up.", "The wind grew strong, and it began to rain."],
        ["{h} looked for a dry place.", "{h} was soon wet and cold.", "\"I must find a roof,\" said {h}."],
        ["Then {hhe} saw a small house with a {oc} {o} by the door.", "In an old barn {hhe} found {oca} {oc} {o} and a dry corner.", "Under a rock there was a dry place, and in it lay {oca} {oc} {o}."],
        ["Somebody was already there. It was {fka} {fk} named {fname}.", "There sat {fka} {fk} named {fname}, who was shaking with cold."],
        ["\"Come in, there is room for two,\" said {f}.", "\"May I stay here until the storm is over?\" asked {h}. \"Of course,\" said {f}."],
        ["The rain fell all night, but they were dry.", "The thunder was loud, but together they were not afraid.", "They told each other stories and waited."],
        ["{h} used the {o} to keep the rain out.", "They put the {o} next to the door, and it kept the wind out.", "The {o} was very useful that night."],
        ["In the morning the sun came out.", "At last the storm was over.", "When they woke up, the sky was blue."],
        THANKS, REPLY, SHARE, END],
    "build": [
        ["One day {h} wanted to build a new house.", "{h} wanted to build a bridge over the stream.", "\"I will build a boat,\" said {h} one {day}.", "{h} wanted to make a little garden."],
        ["But {hhe} could not do it alone.", "It was hard work, and soon {hhe} was tired.", "{hHe} worked all morning, but it did not go well."],
        MEET,
        ["\"What are you doing?\" asked {f}. \"I am building something, but I need help,\" said {h}.", "\"That looks like hard work,\" said {f}."],
        ["\"I have {oca} {oc} {o} at home. We can use it,\" said {f}.", "{f} went home and came back with {oca} {oc} {o}.", "\"Wait here,\" said {f}, and {fhe} brought {oca} {oc} {o}."],
        ["With the {o} the work was easy.", "Now they worked together, and the {o} was a great help.", "{h} carried the wood, and {f} used the {o}."],
        ["They worked for {n} days.", "They worked until the sun went down.", "Step by step it grew."],
        ["At last it was done.", "On {day} the work was done.", "In the end they stood back and looked at it."],
        ["\"It is beautiful,\" said {h}.", "\"We did a good job,\" said {f}.", "\"I never thought we could do it,\" said {h}."],
        SHARE, MORAL, END],
    "gift": [
        ["It was the birthday of {f}, {ma2} {m2} {fk}.", "Tomorrow was the birthday of {hhis} friend {fname}, {fka} {fk}.", "{hHis} friend {fname}, {fka} {fk}, was ill."],
        ["{h} wanted to give {fhim} something nice.", "\"What can I give {fhim}?\" thought {h}.", "{h} had no money for a gift."],
        ["{hHe} went to {thep} and looked around.", "{hHe} walked to the market, but everything cost too much.", "{hHe} thought about it all night."],
        ["Then {hhe} saw {oca} {oc} {o}.", "There {hhe} found an old {o}. {hHe} cleaned it and made it {oc}.", "So {hhe} made {oca} {oc} {o} with {hhis} own hands."],
        ["\"This is just right,\" {hhe} said.", "\"{f} will like this {o},\" {hhe} thought.", "{hHe} put the {o} into a box."],
        ["The next day {hhe} went to {f}.", "{hHe} ran all the way to the house of {f}.", "In the morning {hhe} knocked at the door of {f}."],
        ["\"This is for you,\" said {h}.", "\"Open the box,\" said {h}.", "\"I have something for you,\" {h} said."],
        ["{f} opened it and saw the {o}.", "{f} looked at the {oc} {o}, and {fhis} eyes grew big.", "\"{oCapa} {o}! It is the best gift of all,\" said {f}."],
        ["\"Did you make it for me?\" asked {f}. \"Yes, I did,\" said {h}.", "\"I will keep it forever,\" said {f}.", "\"How did you know that I wanted {oa} {o}?\" asked {f}."],
        SHARE, END],
    "race": [
        ["Every {season} there was a big race in {theplace}.", "One {day} there was a race from {thep} to {thep2}.", "\"I am faster than you,\" said {fname} the {fk} one day."],
        ["The prize was {oca} {oc} {o}.", "The winner would get {oca} {oc} {o}.", "\"Let us race for the {oc} {o},\" said {fname}."],
        ["{h} was not fast, but {hhe} wanted to try.", "Nobody thought that {h} could win.", "{h} had trained for {n} weeks."],
        ["The race began, and {fname} was soon far ahead.", "\"Ready, steady, go!\" And off they ran.", "They ran as fast as they could."],
        ["But {fname} stopped to eat some {food}.", "But {fname} fell and hurt {fhis} foot.", "But {fname} took the wrong path."],
        ["{h} could have run on, but {hhe} stopped.", "{h} saw it and ran slower.", "{h} heard a cry and turned around."],
        ["\"Come, let us go on together,\" said {h}.", "\"Are you all right?\" asked {h}.", "\"I will help you,\" said {h}."],
        ["So they came in together, side by side.", "They walked to the end of the road arm in arm.", "They were the last, but they were not sad."],
        ["Everybody cheered, and both of them got the {o}.", "\"You both win,\" said the farmer and gave them the {o}.", "The {o} went to {h}, because {hhe} had a good heart."],
        MORAL, SHARE, END],
    "door": [
        DAY, ["Behind the old wall {hhe} saw a small door.", "There was a little door in a tree.", "Between two rocks {hhe} found a {oc} door."],
        ["{hHe} knocked, but nobody answered.", "It was locked.", "\"What is behind this door?\" {hhe} said."],
        MEET,
        ["\"Do you know this door?\" asked {h}.", "\"Have you ever seen what is inside?\" asked {h}."],
        ["\"My grandfather told me about it,\" said {f}. \"You need {oca} {oc} {o}.\"", "\"They say that only {oa} {o} can open it,\" said {f}."],
        ["They looked for {oa} {o} everywhere.", "They went to {thep2} and asked for {oa} {o}."],
        ["At last they found {oca} {oc} {o} in an old box.", "An old woman gave them {oca} {oc} {o}.", "Under the bridge lay {oca} {oc} {o}."],
        ["They went back, and slowly the door opened.", "{h} held the {o} to the door, and it opened.", "\"Now!\" said {f}, and the door opened."],
        ["Behind it was a garden full of flowers.", "Behind it was a room full of books.", "Inside there was a table with {food} and {food2}."],
        ["\"It is wonderful,\" said {h}.", "\"This will be our secret,\" said {f}.", "\"Let us come here every day,\" said {f}."],
        END],
    "learn": [
        ["{h} wanted to learn how to use {oa} {o}.", "{h} had {oca} {oc} {o}, but {hhe} did not know how to use it.", "{hHis} father gave {hhim} {oca} {oc} {o}, but it was not easy to use."],
        ["{hHe} tried it on {day}, but it did not work.", "{hHe} tried again and again.", "The first time everything went wrong."],
        ["\"I will never learn it,\" said {h}.", "\"This is too hard for me,\" {hhe} said.", "{h} threw the {o} into a corner and went out."],
        MEET,
        ["\"I know how you feel,\" said {f}. \"I had to learn it too.\"", "\"Do not give up,\" said {f}.", "\"Show me what you do,\" said {f}."],
        ["\"You must go slowly,\" said {f}.", "\"First look, then try,\" said {f}.", "\"Hold the {o} like this,\" said {f}."],
        ["{h} tried once more.", "They worked on it every day.", "After {n} days it was a little better."],
        ["And then, one {w} morning, it worked!", "At last {hhe} could do it.", "Suddenly the {o} did just what {hhe} wanted."],
        ["\"I did it!\" cried {h}.", "\"Look at me!\" cried {h}.", "{h} laughed and danced around the {o}."],
        ["\"I knew that you could do it,\" said {f}.", "\"You see? You only needed time,\" said {f}."],
        SHARE, MORAL, END],
}
OPTIONAL = (LIKES, SHARE, MORAL, REPLY, THANKS)

ON = {"hill", "beach", "island", "farm", "mountain", "meadow", "field"}
AT = {"river", "lake", "market", "mill", "harbor", "school"}


def inside(place):
    return ("on" if place in ON else "at" if place in AT else "in") + " the " + place


def fill(frame, s):
    d = dict(s)
    for r in "hf":
        d[r + "He"], d[r + "His"] = s[r + "he"].capitalize(), s[r + "his"].capitalize()
        d[r + "Capka"] = s[r + "ka"].capitalize()
    d["hself"] = "herself" if s["hhe"] == "she" else "himself"
    d["thep"], d["thep2"] = "the " + s["p"], "the " + s["p2"]
    d["inp"], d["inp2"] = inside(s["p"]), inside(s["p2"])
    d["theplace"], d["theplace2"] = "the village", "the village"
    d["oCapa"], d["ma2"] = s["oa"].capitalize(), article(s["m2"])
    return frame.format(**d)


def story(rng, hero=None, obj=None, place=None, short=None):
    """One story as plain text. hero is ("animal", word) or ("child", name)."""
    cast = Cast(rng, hero, obj, place)
    s = cast.slots
    beats = [OPEN_ANIMAL if s["hanimal"] else OPEN_CHILD]
    short = rng.random() < 0.5 if short is None else short
    if rng.random() < (0.3 if short else 0.7):
        beats.append(LIKES)
    for beat in PLOTS[rng.choice(sorted(PLOTS))]:
        if any(beat is o for o in OPTIONAL) and rng.random() < (0.7 if short else 0.25):
            continue
        beats.append(beat)
    out = []
    for beat in beats:
        frame = rng.choice(beat)
        if beat is LIKES and "{fname}" in frame:
            frame = LIKES[0]
        out.append(cap(fill(frame, s)))
    text = out[0]
    for line in out[1:]:
        # a new paragraph now and then, before a longer beat
        text += ("\n\n" if not short and rng.random() < 0.12 else " ") + line
    return text


def story_request(rng):
    """(prompt, story) with the prompt naming the hero, the object and/or the place."""
    hero = ("animal", rng.choice(ANIMALS)) if rng.random() < 0.7 else ("child", rng.choice(BOYS + GIRLS))
    who = article(hero[1]) + " " + hero[1] if hero[0] == "animal" else hero[1]
    obj = rng.choice(list(OBJECTS)) if rng.random() < 0.75 else None
    place = rng.choice(PLACES) if (rng.random() < 0.3 or obj is None) and rng.random() < 0.8 else None
    about = who + (" and %s %s" % (article(obj), obj) if obj else "") + (" " + inside(place) if place else "")
    ask = rng.choice([
        "Tell me a short story about {a}.", "Tell me a story about {a}.", "Write a short story about {a}.",
        "Please tell me a story about {a}.", "Write a story about {a}.", "Can you tell me a story about {a}?",
        "I would like to hear a story about {a}.", "A story about {a}, please.", "Make up a story about {a}.",
        "Story about {a}", "tell me a story about {a}", "Give me a short tale about {a}."])
    if rng.random() < 0.06:
        return rng.choice(["Tell me a story.", "Tell me a short story.", "Write a story.", "Please tell me a story.",
                           "Can you tell me a story?", "tell me a story"]), story(rng, short=True)
    return ask.format(a=about), story(rng, hero, obj, place, short=rng.random() < 0.75)
