"""Short question-and-answer chat about Tokengrid, greetings, and a polite reply for the rest."""
from words import *

# Ways to ask "what is X" and "why X"; {x} is the subject with its article.
WHAT = ["What is {x}?", "what is {x}", "What's {x}?", "Tell me about {x}.", "Explain {x}.", "What does {x} mean?", "Can you explain {x}?",
        "Please explain what {x} is.", "Describe {x}.", "I do not know what {x} is. Can you help?", "Give me a short definition of {x}.",
        "What do you know about {x}?", "Could you tell me what {x} is?", "What exactly is {x}?"]

# subject(s) -> answer
TOPICS = [
    (["Tokengrid", "the Tokengrid project", "Token grid"],
     "Tokengrid is software that runs language models and measures the work in Standard Tokens, so that buyers and sellers can settle fairly. Every request ends with a receipt."),
    (["a Standard Token", "the Standard Token", "a standard token", "one Standard Token", "ST"],
     "A Standard Token is the work of decoding one output token of the reference model TG-R1 with 2,048 keys in view. It is the unit in which Tokengrid counts work."),
    (["TG-R1", "the reference model", "the reference model TG-R1"],
     "TG-R1 is the reference model of Tokengrid. It fixes the unit of work: one of its output tokens with 2,048 keys in view is one Standard Token."),
    (["a receipt", "the receipt", "a Tokengrid receipt", "a usage receipt"],
     "A receipt is a small record of one request. It says which model ran, how many tokens it read and wrote, and how many Standard Tokens of work that was."),
    (["the ledger", "a ledger", "the Tokengrid ledger"],
     "The ledger keeps the accounts of Tokengrid. It works by double entry: what one account gives, another account gets, so nothing is ever lost."),
    (["the bytecode", "bytecode", "the Tokengrid bytecode"],
     "The bytecode is the list of simple steps that a model is turned into. Tokengrid checks the steps, knows the work of each, and then runs them."),
    (["metering", "the metering", "the meter"],
     "Metering means counting the work of a request. Tokengrid counts the steps of the bytecode, not seconds, so the number is the same on every machine."),
    (["a token", "a token in a language model", "tokens"],
     "A token is a small piece of text, such as a word or a part of a word. A language model reads and writes tokens."),
    (["the engine", "the Tokengrid engine", "the inference engine"],
     "The engine is the part of Tokengrid that runs the model. It reads the weights, runs the bytecode and picks the next token."),
    (["inference", "model inference"],
     "Inference means using a trained model. The model reads a prompt and writes the answer one token after another."),
    (["a language model", "an LLM", "a large language model"],
     "A language model is a program that has learned from text which token comes next. By adding one token after another it can write an answer."),
    (["GGUF", "a GGUF file", "the GGUF format"],
     "GGUF is a file format for language models. One file holds the weights, the vocabulary and the settings of a model."),
    (["quantization", "a quantized model", "weight quantization"],
     "Quantization stores the weights of a model with fewer bits. The model gets smaller and faster and loses only a little quality."),
    (["the KV cache", "a KV cache", "the key-value cache", "the cache"],
     "The KV cache keeps the keys and values of all tokens read so far, so the model does not have to compute them again for every new token."),
    (["a key in view", "keys in view", "2,048 keys in view"],
     "The keys in view are the earlier tokens that a new token can look back at. More keys in view mean more work for each token."),
    (["speculative decoding", "a draft model", "the draft model", "drafting"],
     "In speculative decoding a small draft model guesses some tokens, and the larger model checks them all at once. The answer stays the same, but it comes faster."),
    (["a tokenizer", "the tokenizer"],
     "A tokenizer cuts text into tokens and turns each token into a number. It can also turn the numbers back into text."),
    (["attention", "the attention layer"],
     "Attention is the part of a model that looks back at earlier tokens and takes from them what the next token needs."),
    (["the context", "the context window", "the context length"],
     "The context is the text a model can see at once. My context is 512 tokens long."),
    (["a prompt", "the prompt"],
     "A prompt is the text that you give to a model. The model reads it and then writes an answer."),
    (["the chat template", "ChatML", "a chat template"],
     "A chat template puts the messages of a chat into one text, with marks that show who is speaking."),
    (["grammar decoding", "JSON mode", "constrained decoding"],
     "Constrained decoding lets the model choose only those tokens that fit a given form, for example a JSON schema."),
]

# question phrasings -> answer
ASKED = [
    (["Who is Tokengrid for?", "Who uses Tokengrid?", "Who should use Tokengrid?", "Whom is Tokengrid made for?", "Is Tokengrid for me?"],
     "Tokengrid is for people who sell or buy the work of language models, and for everyone who wants to know how much work an answer took."),
    (["How does Tokengrid work?", "How does Tokengrid measure work?", "How is the work measured?", "How do you count the work?", "How does metering work?"],
     "Tokengrid turns a model into bytecode, runs it, counts the work of its steps, and writes the sum in Standard Tokens on a receipt."),
    (["Why does Tokengrid need a unit?", "Why do we need a Standard Token?", "Why not count tokens?", "Why not just count tokens?", "Why Standard Tokens?"],
     "A token of a large model is more work than a token of a small one. With Standard Tokens the work of different models can be compared."),
    (["Why not count seconds?", "Why not measure time?", "Why does Tokengrid not count seconds?", "Does Tokengrid measure time?"],
     "Seconds depend on the machine. Standard Tokens count the work itself, so a fast and a slow machine give the same number."),
    (["What is double entry?", "What is double-entry bookkeeping?", "Explain double entry.", "How does double entry work?", "How does the ledger work?"],
     "With double entry, each transfer takes from one account exactly what it adds to another, so the books always balance."),
    (["What does the ledger do?", "What is the ledger for?", "Why is there a ledger?", "What is the use of the ledger?", "Why do we need a ledger?"],
     "The ledger keeps the accounts of Tokengrid. It works by double entry: what one account gives, another account gets, so nothing is ever lost."),
    (["What is a receipt for?", "Why is there a receipt?", "What do I do with a receipt?", "What does a receipt say?", "What is written on a receipt?", "What is in a receipt?"],
     "A receipt is a small record of one request. It says which model ran, how many tokens it read and wrote, and how many Standard Tokens of work that was."),
    (["Can I check a receipt?", "How can I check a receipt?", "How do I verify a receipt?", "Can a receipt be checked?"],
     "Yes. The work follows from the model and the number of tokens, so a buyer can count it again without having the weights."),
    (["What does the bytecode do?", "What is the bytecode for?", "Why is there a bytecode?", "Why does Tokengrid use bytecode?"],
     "The bytecode is the list of simple steps that a model is turned into. Tokengrid checks the steps, knows the work of each, and then runs them."),
    (["What language is Tokengrid written in?", "Which language is Tokengrid written in?", "Is Tokengrid written in C++?", "What is Tokengrid written in?"],
     "Tokengrid is written in C++20."),
    (["Do I need a GPU?", "Does Tokengrid need a GPU?", "Can it run without a GPU?", "Does it run on a CPU?", "Can I run Tokengrid on my computer?"],
     "No GPU is needed. Tokengrid runs on an ordinary computer with a CPU."),
    (["Is Tokengrid free?", "Is Tokengrid open source?", "What is the license of Tokengrid?", "What does Tokengrid cost?", "Which license does it have?"],
     "Tokengrid is open source under the Apache License 2.0."),
    (["How many keys are in view for a Standard Token?", "How long is the context of a Standard Token?", "How many keys does the Standard Token use?"],
     "A Standard Token is defined with 2,048 keys in view."),
    (["Which model defines the Standard Token?", "Which model is the reference model?", "What is the name of the reference model?"],
     "The reference model is called TG-R1."),
    (["Who are you?", "who are you", "What are you?", "What is your name?", "Who am I talking to?", "Tell me about yourself.", "Introduce yourself.", "What's your name?", "Are you a robot?",
      "What is Tokengrid Tiny?", "Which model are you?"],
     "I am Tokengrid Tiny, a very small language model that comes with Tokengrid."),
    (["What can you do?", "How can you help me?", "What can I ask you?", "Can you help me?", "Help", "help", "What do you do?", "What are you good at?", "I need help."],
     "I can tell short stories, repeat words, look things up in a list, add numbers, count, write small JSON objects and answer questions about Tokengrid."),
    (["How big are you?", "How large are you?", "Are you a large model?", "How many parameters do you have?", "Are you smart?", "Are you clever?"],
     "I am a very small model with a few million weights, so I know only a few things."),
    (["How were you trained?", "Who made you?", "Who trained you?", "Where do you come from?", "What were you trained on?", "Who built you?"],
     "I was trained by the Tokengrid project on text that a small program made up."),
    (["Do you make mistakes?", "Can I trust you?", "Are you always right?", "Are you ever wrong?"],
     "I am a very small model and I make mistakes, so please check what I say."),
    (["What is your context length?", "How much text can you read?", "How long is your context?", "How many tokens can you read?"],
     "My context is 512 tokens long."),
    (["Hello", "Hello!", "Hi", "Hi!", "hello", "hi", "Hey", "Hello there!", "Good morning", "Good morning!", "Good evening!", "hey", "Hello, model!", "Hi there", "Good day"],
     "Hello! How can I help you?"),
    (["How are you?", "How are you today?", "how are you", "Are you well?", "How do you do?", "Hello, how are you?"],
     "I am fine, thank you. How can I help you?"),
    (["Thank you", "Thanks", "Thanks!", "Thank you very much!", "thank you", "Great, thanks.", "Nice, thank you!", "Thanks a lot."],
     "You are welcome!"),
    (["Bye", "Goodbye", "Good night", "See you later!", "bye", "Bye bye!", "Goodbye!", "See you!"],
     "Goodbye! Have a nice day."),
    (["Are you there?", "Can you hear me?", "test", "Test", "Are you ready?", "ping"],
     "Yes, I am here. How can I help you?"),
]

UNKNOWN_REPLY = "I am sorry, I do not know that. I am a very small model. I can tell a story, add numbers, count, or talk about Tokengrid."
UNKNOWN = [
    "What is the capital of {X}?", "Who is the king of {X}?", "How do I {v} a {n}?", "Why is the {n} so {a}?", "What is the best {n}?",
    "How much does a {n} cost?", "Who invented the {n}?", "What is the weather like {day}?", "What time is it?", "How far is it to {X}?",
    "Can you {v} my {n}?", "Where can I buy a {n}?", "What is the meaning of life?", "How old is the {n}?", "What should I eat {day}?",
    "Do you like {food}?", "Translate {n} into {X}.", "Write a poem about {n}.", "What is the news?", "How many people live in {X}?",
    "Is a {n} better than a {n2}?", "How do you make {food}?", "When was {X} founded?", "Who wrote the {n}?", "Solve this riddle: {n}.",
    "What does {X} mean?", "Tell me a joke.", "Sing a song about {n}.", "Why do birds fly?", "What is {X}?", "Who is {X}?", "Explain the {n} to me.",
    "Write a program that can {v} a {n}.", "Which {n} is the biggest?", "Play some music.", "Should I {v} the {n}?", "What happened in 19{d}?",
    "Who won the game?", "What is {d} times {d}?", "What is the square root of {d}?", "Can you see the {n}?", "Where is {X}?", "How does a {n} work?",
]


def unknown(rng):
    x = pseudo(rng).capitalize() if rng.random() < 0.6 else rng.choice(
        "France Spain Italy Germany Japan China India Brazil Canada Paris London Rome Berlin Tokyo Mars Einstein Python Linux Bitcoin".split())
    n, n2 = rng.sample(NOUNS, 2)
    q = rng.choice(UNKNOWN).format(X=x, v=rng.choice(VERBS), n=n, n2=n2, a=rng.choice(ADJ), food=rng.choice(FOODS),
                                   d=rng.randint(10, 99), day=rng.choice(["today", "tomorrow", "tonight", "on " + rng.choice(DAYS)]))
    return (q if rng.random() < 0.85 else q.lower().rstrip("?.")), UNKNOWN_REPLY


def pairs():
    """Every (question, answer) pair about Tokengrid and small talk."""
    out = [(w.format(x=x), a) for xs, a in TOPICS for x in xs for w in WHAT]
    return out + [(q, a) for qs, a in ASKED for q in qs]


_PAIRS = None


def qa(rng):
    r = rng.random()
    if r < 0.22:
        return unknown(rng)
    if r < 0.6:
        xs, a = rng.choice(TOPICS)
        # the project and its unit are what people ask about first
        if rng.random() < 0.25:
            xs, a = TOPICS[rng.choice((0, 1, 3, 4, 5))]
        return rng.choice(WHAT).format(x=rng.choice(xs)), a
    qs, a = rng.choice(ASKED)
    q = rng.choice(qs)
    if rng.random() < 0.15:
        q = rng.choice(["Hello. ", "Hi, ", "Please tell me: ", "I have a question. "]) + q
    return q, a
