"""Probe generators. Each returns (user text, assistant text). They use nothing but the rng given,
and `held_out` marks by a checksum the items that never enter the training text."""
import json
import zlib

from words import *

ALLWORDS = sorted(set(NOUNS + VERBS + ADJ + COLORS + MOODS))
NAMES = BOYS + GIRLS


def held_out(key, share=24):
    """Whether the item named by key is kept out of training (one in `share`)."""
    return zlib.crc32(key.encode()) % share == 0


def random_words(rng, n):
    r = rng.random()
    if r < 0.55:
        return [rng.choice(ALLWORDS) for _ in range(n)]
    if r < 0.8:
        return [pseudo(rng) for _ in range(n)]
    if r < 0.9:
        return [rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(n)]
    return [rng.choice((pseudo, lambda g: g.choice(ALLWORDS), lambda g: g.choice(NAMES)))(rng) for _ in range(n)]


def copy(rng, n=None):
    n = n or rng.randint(2, 12)
    text = " ".join(random_words(rng, n))
    ask = rng.choice(["Repeat: {}", "Copy: {}", "Repeat after me: {}", "Say this again: {}", "Copy these words: {}",
                      "Please repeat these words: {}", "Write this again: {}", "repeat {}", "Echo: {}"])
    return ask.format(text), text


def _facts(rng, n):
    """n statements with distinct subjects, as (statement, question, answer)."""
    kind = rng.randrange(5)
    if kind == 0:
        subj = rng.sample(NAMES, n)
        val = [rng.choice(COLORS) + " " + rng.choice(list(OBJECTS)) for _ in subj]
        return [("%s has a %s." % (a, b), "What does %s have?" % a, "%s has a %s." % (a, b)) for a, b in zip(subj, val)]
    if kind == 1:
        subj = rng.sample(ANIMALS, n)
        val = [rng.choice(PLACES) for _ in subj]
        return [("The %s lives near the %s." % (a, b), "Where does the %s live?" % a, "The %s lives near the %s." % (a, b))
                for a, b in zip(subj, val)]
    if kind == 2:
        subj = rng.sample(NAMES, n)
        val = [rng.choice(FOODS) for _ in subj]
        return [("%s likes %s." % (a, b), "What does %s like?" % a, "%s likes %s." % (a, b)) for a, b in zip(subj, val)]
    if kind == 3:
        subj = rng.sample(list(OBJECTS), n)
        val = [rng.choice(COLORS) for _ in subj]
        return [("The %s is %s." % (a, b), "What color is the %s?" % a, "The %s is %s." % (a, b)) for a, b in zip(subj, val)]
    subj = rng.sample(NAMES, n)
    val = [rng.randint(2, 99) for _ in subj]
    return [("%s is %d years old." % (a, b), "How old is %s?" % a, "%s is %d years old." % (a, b)) for a, b in zip(subj, val)]


FILLER = ["It was a {w} day.", "The sun was shining.", "Nobody was in the {p}.", "It was {season}.", "There was a {o} on the table.",
          "The road to the {p} was long.", "A {a} ran by.", "It was quiet in the {p}.", "The {o} stood in a corner.", "Then it began to rain."]


def filler(rng):
    return rng.choice(FILLER).format(w=rng.choice(WEATHER), p=rng.choice(PLACES), season=rng.choice(SEASONS),
                                     o=rng.choice(list(OBJECTS)), a=rng.choice(ANIMALS))


def recall(rng, n=None, distance=None):
    """Associative recall: one of n facts, with filler sentences between the facts and the question."""
    facts = _facts(rng, n or rng.randint(1, 6))
    distance = rng.choice((0, 0, 1, 2, 4, 8)) if distance is None else distance
    lines = [f[0] for f in facts] + [filler(rng) for _ in range(distance)]
    if rng.random() < 0.3:
        rng.shuffle(lines)
    _, question, answer = rng.choice(facts)
    head = rng.choice(["Remember: ", "", "", "Listen. ", "Facts: "])
    return head + " ".join(lines) + rng.choice(["\n", " "]) + question, answer


def lookup(rng, n=None):
    """Key-value lookup."""
    n = n or rng.randint(2, 8)
    keys, r = [], rng.random()
    while len(keys) < n:
        k = rng.choice(ALLWORDS) if r < 0.7 else pseudo(rng)
        if k not in keys:
            keys.append(k)
    v = rng.random()
    vals = [str(rng.randint(0, 99)) if v < 0.5 else rng.choice(ALLWORDS) if v < 0.8 else pseudo(rng) for _ in keys]
    sep, end = rng.choice(((" = ", "\n"), (": ", "\n"), (" = ", ", "), (" is ", ". "), (" -> ", "\n"), ("=", "; ")))
    table = end.join(k + sep + x for k, x in zip(keys, vals))
    i = rng.randrange(n)
    ask = rng.choice(["What is {}?", "Look up {}.", "Value of {}?", "Find {}.", "What is the value of {}?"]).format(keys[i])
    return table + (end if end == ". " else "\n") + ask, vals[i]


def add(rng, digits=None, held=False):
    """Addition; 1-2 digits mostly, some with 3. Pairs are held out in both orders and all phrasings."""
    d = digits or rng.choice((1, 1, 2, 2, 2, 2, 2, 3, 3))
    hi = 10 ** d - 1
    while True:
        a, b = rng.randint(0, hi), rng.randint(0, hi if rng.random() < 0.8 else 9)
        if held_out("%d+%d" % (min(a, b), max(a, b)), 16) == held:
            break
    if rng.random() < 0.5:
        a, b = b, a
    ask = rng.choice(["What is {} + {}?", "Add {} and {}.", "{} + {} = ?", "{} + {}", "Calculate {} + {}.", "How much is {} + {}?",
                      "What is {} plus {}?", "Please add {} and {}.", "What is the sum of {} and {}?"])
    return ask.format(a, b), "%d + %d = %d" % (a, b, a + b)


def count(rng, down=None):
    n = rng.randint(3, 16)
    a = rng.randint(0, 100 if rng.random() < 0.6 else 20)
    b = a + n
    if rng.random() < 0.15 if down is None else down:
        return rng.choice(["Count down from {} to {}.", "Count backwards from {} to {}."]).format(b, a), \
            ", ".join(str(i) for i in range(b, a - 1, -1))
    ask = rng.choice(["Count from {} to {}.", "Count from {} to {}.", "Please count from {} to {}.", "List the numbers from {} to {}.",
                      "count from {} to {}", "Can you count from {} to {}?"])
    return ask.format(a, b), ", ".join(str(i) for i in range(a, b + 1))


FIELDS = {
    "name": ("string", lambda r: r.choice(NAMES)), "age": ("integer", lambda r: r.randint(1, 99)),
    "pet": ("string", lambda r: r.choice(ANIMALS)), "color": ("string", lambda r: r.choice(COLORS)),
    "food": ("string", lambda r: r.choice(FOODS)), "place": ("string", lambda r: r.choice(PLACES)),
    "item": ("string", lambda r: r.choice(list(OBJECTS))), "count": ("integer", lambda r: r.randint(0, 99)),
    "price": ("integer", lambda r: r.randint(1, 500)), "day": ("string", lambda r: r.choice(DAYS)),
    "open": ("boolean", lambda r: r.random() < 0.5), "happy": ("boolean", lambda r: r.random() < 0.5),
    "id": ("integer", lambda r: r.randint(1, 999)), "mood": ("string", lambda r: r.choice(MOODS)),
}


def as_json(rng, n=None):
    """A JSON object after a small schema."""
    keys = rng.sample(list(FIELDS), n or rng.randint(1, 5))
    obj = {k: FIELDS[k][1](rng) for k in keys}
    spoken = [("%s %s" % (k, json.dumps(v).strip('"'))) for k, v in obj.items()]
    listing = spoken[0] if len(spoken) == 1 else ", ".join(spoken[:-1]) + " and " + spoken[-1]
    r = rng.random()
    if r < 0.35:
        schema = "{" + ", ".join('"%s": %s' % (k, FIELDS[k][0]) for k in keys) + "}"
        ask = rng.choice(["Schema: {s}\nText: {t}", "Fill this schema: {s}\nwith {t}", "Answer in JSON like {s}. Data: {t}"]).format(s=schema, t=listing)
    elif r < 0.7:
        ask = rng.choice(["Make a JSON object with {}.", "Write JSON with {}.", "Give me a JSON object with {}.", "JSON: {}",
                          "Return a JSON object with {}."]).format(listing)
    else:
        ask = rng.choice(["Turn this into JSON: {}", "Convert to JSON: {}", "Make JSON from this list: {}"]).format(
            ", ".join("%s=%s" % (k, json.dumps(v).strip('"')) for k, v in obj.items()))
    return ask, json.dumps(obj)


PROBES = {"copy": copy, "recall": recall, "lookup": lookup, "add": add, "count": count, "json": as_json}


def induction_text(rng):
    """(noise, rest): plain text dense in repeats, the quickest teacher of copying and recall.
    Nothing in `noise` can be predicted, all of `rest` follows from it."""
    r = rng.random()
    if r < 0.4:  # the same sequence two to four times
        seq = " ".join(random_words(rng, rng.randint(3, 20)))
        return seq + "\n", "\n".join([seq] * rng.randint(1, 3))
    if r < 0.7:  # pairs that come again in another order
        n = rng.randint(2, 8)
        first = list(dict.fromkeys(random_words(rng, n)))
        lines = ["%s %s" % p for p in zip(first, random_words(rng, len(first)))]
        head, out = "\n".join(lines) + "\n", []
        for _ in range(rng.randint(1, 3)):
            rng.shuffle(lines)
            out += lines
        return head, "\n".join(out)
    if r < 0.85:  # facts, then all the questions
        facts = _facts(rng, rng.randint(2, 6))
        text = " ".join(f[0] for f in facts) + "\n"
        rng.shuffle(facts)
        return text, "\n".join("%s %s" % f[1:] for f in facts)
    ask, answer = lookup(rng)
    return ask + "\n", answer


def number_text(rng):
    """Plain text with sums or counting, several to a document."""
    if rng.random() < 0.75:
        return "\n".join(add(rng)[1] for _ in range(rng.randint(3, 10)))
    a = rng.randint(0, 120)
    return ", ".join(str(i) for i in range(a, a + rng.randint(5, 40)))
