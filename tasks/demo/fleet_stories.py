"""What the simulated fleet works on: agents, ventures, and tasks with the steps, results and hitches of such work.

Everything is made up and drawn from a seeded generator. Not: how the work is done (fleet_simulator.py).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

# slug, role, provider, model, avatar, what it is good at
AGENTS = (
    ("ada", "Backend engineer", "claude-code", "claude-sonnet", ("code", "testing")),
    ("grace", "Data engineer", "claude-code", "claude-sonnet", ("data", "code")),
    ("linus", "Platform engineer", "codex", "gpt-codex", ("operations", "code")),
    ("kay", "Copywriter", "openclaw", "claude-haiku", ("writing", "translation")),
    ("dijkstra", "Reviewer", "claude-code", "claude-opus", ("testing", "code")),
    ("barbara", "Architect", "claude-code", "claude-opus", ("code", "writing")),
    ("radia", "Network engineer", "codex", "gpt-codex", ("operations", "testing")),
    ("ken", "Toolsmith", "codex", "gpt-codex", ("code", "operations")),
    ("adele", "Designer", "openclaw", "claude-sonnet", ("design", "writing")),
    ("donald", "Technical writer", "claude-code", "claude-haiku", ("writing", "research")),
    ("frances", "Performance engineer", "codex", "gpt-codex", ("code", "data")),
    ("niklaus", "Maintainer", "claude-code", "claude-sonnet", ("code", "testing")),
    ("sophie", "Market researcher", "openclaw", "claude-sonnet", ("research", "data")),
    ("tim", "Web developer", "openclaw", "claude-sonnet", ("design", "code")),
    ("leslie", "Analyst", "custom", "claude-haiku", ("data", "research")),
    ("vint", "Support agent", "openclaw", "claude-haiku", ("support", "writing")),
    ("alan", "Security engineer", "claude-code", "claude-opus", ("testing", "operations")),
    ("mary", "Translator", "openclaw", "claude-haiku", ("translation", "writing")),
    ("john", "Bookkeeper", "custom", "claude-haiku", ("data", "support")),
    ("evelyn", "Illustrator", "openclaw", "claude-sonnet", ("design", "research")),
)
DIRECTOR = ("margaret", "Flight director")
ASSISTANTS = ("scout", "runner", "reader", "checker", "drafter")  # names of sub-agents

VENTURES: tuple[dict[str, Any], ...] = (
    {
        "slug": "e-commerce", "name": "E-commerce", "icon": "🛒", "color": "#e8590c",
        "description": "The shop: storefront, checkout, stock and everything a customer reads.",
    },
    {
        "slug": "shoe-store", "name": "Shoe store", "icon": "👟", "color": "#1971c2",
        "description": "Winter boots and running shoes for three countries.",
    },
    {
        "slug": "field-notes", "name": "Field notes", "icon": "📓", "color": "#2f9e44",
        "description": "A small newsletter and the site around it.",
    },
)  # fmt: skip


@dataclass(frozen=True)
class Trade:
    """One kind of work: titles with gaps, what fills them, and how such work goes."""

    capability: str
    tags: tuple[str, ...]
    titles: tuple[str, ...]
    subjects: tuple[str, ...]
    places: tuple[str, ...]
    steps: tuple[str, ...]
    results: tuple[tuple[str, str], ...]  # title of the deliverable, file name
    summaries: tuple[str, ...]
    hitches: tuple[str, ...]  # why an attempt failed
    questions: tuple[str, ...]  # what it needs to be told


TRADES = (
    Trade(
        "code", ("backend", "bug"),
        ("Fix the error in {subject} for {place}", "Make {subject} faster on {place}", "Rewrite {subject} without the old client", "Move {subject} to the new API", "Handle time-outs of {subject} on {place}", "Add paging to {subject}"),
        ("the product search", "the checkout", "the stock import", "the order export", "the voucher rules", "the price cache", "the address form", "the payment webhook"),
        ("half sizes", "the Polish shop", "guest orders", "large carts", "gift cards", "returns", "mobile Safari", "orders over 30 lines"),
        ("Reading the code around it", "Reproducing it in a test", "Sketching the change", "Writing the change", "Running the whole suite", "Cleaning up the diff", "Writing the commit message"),
        (("Patch", "change.patch"), ("Test report", "report.txt"), ("Notes for the reviewer", "review.md")),
        ("Fixed, with a test that failed before.", "Done. Two call sites used the old shape, both changed.", "Works; the slow part was a query per line, now it is one."),
        ("The test suite needs a service that is not reachable from here.", "The change breaks three other tests, and they look right.", "The branch does not build: a dependency was yanked."),
        ("Which of the two rounding rules is meant?", "May the old endpoint go, or does somebody still call it?", "Needs a key for the payment sandbox."),
    ),
    Trade(
        "testing", ("tests", "quality"),
        ("Rewrite the tests of {subject} so that they run without {place}", "Find out why the test of {subject} is flaky", "Cover {subject} when {place} is down", "Add an end-to-end test for {subject}"),
        ("the checkout", "the login", "the newsletter form", "the refund", "the size guide", "the invoice", "the cart"),
        ("the payment sandbox", "the mail server", "the search index", "the network", "the stock service"),
        ("Reading the current suite", "Listing what it calls outside", "Choosing what to record", "Recording the happy path", "Mocking the webhook", "Failure paths", "Running it ten times in a row", "Updating the guide"),
        (("Recorder", "recorder.py"), ("Run log", "runs.txt"), ("Coverage before and after", "coverage.md")),
        ("22 tests, all green ten times in a row.", "The flake was a clock read twice; it is read once now.", "Covered, including the answer that never comes."),
        ("It still fails one time in thirty.", "The recorder does not see requests of the worker."),
        ("Is the old browser still supported?", "Which failures should page somebody?"),
    ),
    Trade(
        "data", ("data", "import"),
        ("Import {subject} from {place} and find duplicates", "Check {subject} against {place}", "Set up a weekly report on {subject}", "Clean {subject} that came from {place}"),
        ("the supplier list", "the price list", "last year's orders", "the size tables", "the stock counts", "the mailing list", "the return reasons"),
        ("2024", "the old shop", "the accountant's sheets", "the warehouse", "three CSV files", "the bank export"),
        ("Reading sheet 2 of 9", "Guessing the columns", "Normalising names", "Matching by tax number", "Looking at the doubtful ones", "Writing the report", "Counting again"),
        (("Clean table", "clean.csv"), ("Doubtful rows", "doubtful.csv"), ("Report", "report.md")),
        ("4 312 rows in, 118 duplicates merged, 9 left for a person.", "All sums match but one, which is explained in the report.", "Runs every Monday at 6."),
        ("One sheet is password protected.", "Two columns changed their meaning half way through."),
        ("Which currency are rows without one?", "May rows without a tax number be dropped?"),
    ),
    Trade(
        "writing", ("copy",),
        ("Write {subject} in plain words, one page", "Draft five {place} descriptions", "Shorten {subject} to what people read", "Answer the ten most asked questions about {subject}", "Write the {place} newsletter"),
        ("the returns policy", "the shipping page", "the size guide", "the warranty terms", "the about page", "the welcome mail"),
        ("winter boot", "running shoe", "rain jacket", "October", "back-to-school", "gift card"),
        ("Reading what is there", "Collecting questions from support", "Outline", "First draft", "Cutting it in half", "Checking names and figures", "Second draft"),
        (("Draft", "draft.md"), ("What changed and why", "changes.md")),
        ("One page, no legal words that the law does not ask for.", "Five drafts, the third is the boldest.", "Down from 1 900 words to 480."),
        ("The facts in the two sources contradict each other.", "The tone guide asks for the opposite of the brief."),
        ("Do we say du or Sie?", "Who signs it?"),
    ),
    Trade(
        "translation", ("copy", "translation"),
        ("Translate {subject} to {place}", "Check the {place} text of {subject}"),
        ("the size guide", "the checkout", "the order mails", "the returns page", "the product names", "the error messages"),
        ("Polish", "Czech", "Danish", "French", "Italian", "Dutch"),
        ("Collecting the texts", "Building the glossary", "First pass", "Looking at it in the page", "Second pass", "Fixing what does not fit the buttons"),
        (("Texts", "texts.po"), ("Glossary", "glossary.csv")),
        ("Done; three texts were too long for their buttons and are shorter now.", "Done, with a glossary of 61 terms."),
        ("The text file changed under me.",),
        ("Is the formal or the familiar form wanted?", "Are brand names translated?"),
    ),
    Trade(
        "research", ("research",),
        ("Compare three {subject} for {place}", "Collect what {place} shops charge for {subject}", "Check the VAT rules for {subject}", "Find out what {place} customers ask about {subject}"),
        ("mail providers", "payment providers", "parcel services", "digital gift cards", "carbon labels", "review widgets"),
        ("Polish", "small", "wholesale", "returning", "German", "Nordic"),
        ("Collecting sources", "Reading the terms", "Building the table", "Checking the figures twice", "Writing the recommendation", "Noting what is still open"),
        (("Comparison", "comparison.csv"), ("Recommendation", "recommendation.md"), ("Sources", "sources.md")),
        ("The second one, by price and by exit terms.", "Two of three publish their prices, the third answers by mail.", "Rules found and quoted, with the paragraphs."),
        ("Two sources ask for a log-in.", "The price pages are different for each visitor."),
        ("What is the budget per month?", "Does it have to be in the EU?"),
    ),
    Trade(
        "operations", ("ops",),
        ("Switch {subject} to {place}", "Rehearse the outage of {subject}", "Move {subject} to {place}", "Find what fills the disk of {subject}", "Rehearse a restore of {subject} to {place}"),
        ("the mail provider", "the image store", "the nightly backup", "the staging server", "the certificates", "the search cluster"),
        ("the new account", "the second region", "object storage", "a bare machine", "version 18"),
        ("Writing down the way back", "Looking at what depends on it", "Doing it in staging", "Waiting for the records", "Doing it for real", "Watching the graphs", "Writing it up"),
        (("Runbook", "runbook.md"), ("Before and after", "measurements.csv")),
        ("Done without an interruption; the way back is in the runbook.", "Restored in 11 minutes, two steps were missing and are written down."),
        ("The provider's API answers 500 for half of the calls.", "The quota is used up until tomorrow."),
        ("Which sender domain?", "Who may approve the new cost?"),
    ),
    Trade(
        "design", ("design", "frontend"),
        ("Compress {subject} without a visible loss", "Redraw {subject} for {place}", "Make {subject} readable on {place}", "Propose three layouts for {subject}"),
        ("the hero images", "the category icons", "the product cards", "the mail template", "the size table", "the empty states"),
        ("a phone", "a small screen", "dark mode", "high contrast", "print"),
        ("Looking at what is there", "Measuring", "First version", "Looking at it small", "Fixing the contrast", "Exporting"),
        (("Pictures", "pictures.zip"), ("Before and after", "compare.png"), ("Notes", "notes.md")),
        ("All under the limit, no visible loss.", "Three proposals, contrast at least 4.5 in all of them."),
        ("The source files are missing for two of them.",),
        ("Which of the three?", "May the logo be cut off at the edge?"),
    ),
    Trade(
        "support", ("support",),
        ("Answer the open questions about {subject} from {place}", "Ask {place} about {subject}", "Sort last week's mails about {subject}"),
        ("late parcels", "a chargeback", "wrong sizes", "missing invoices", "the voucher code", "double orders"),
        ("the bank", "the parcel service", "Poland", "October", "wholesale customers", "the weekend"),
        ("Reading the mails", "Sorting by cause", "Looking up the orders", "Drafting answers", "Checking them against the policy", "Sending", "Writing down what comes up often"),
        (("Answers", "answers.md"), ("Causes", "causes.csv")),
        ("31 answered, 2 need a person.", "Asked; they answer within three days."),
        ("The mailbox rejected the log-in.",),
        ("May we refund shipping as well?", "Who calls the customer back?"),
    ),
)  # fmt: skip
BY_CAPABILITY = {trade.capability: trade for trade in TRADES}
DETAILS = (
    "What counts as done: it works for {place}, and somebody who was not there can follow it.",
    "Keep it small. Say what you left out and why.",
    "There is an older attempt; read it first, it failed for a reason.",
    "Please write down anything surprising about {subject}.",
    "If it takes more than an hour, stop and say what is in the way.",
)


@dataclass(frozen=True)
class Story:
    """One task as it will be created: `fields` of POST /tasks, and the trade that tells how it goes."""

    fields: dict[str, Any]
    trade: Trade = field(repr=False)


def profile(place: int) -> dict[str, Any]:
    """The fields of the agent at that place of the fleet; beyond the cast, namesakes with a number."""
    slug, role, provider, model, capabilities = AGENTS[place % len(AGENTS)]
    number = place // len(AGENTS) + 1
    name = slug.title() if number == 1 else f"{slug.title()} {number}"
    return {
        "slug": slug if number == 1 else f"{slug}-{number}", "name": name, "role": role, "provider": provider,
        "model": model, "capabilities": sorted(capabilities),
    }  # fmt: skip


def story(draw: random.Random, capabilities: set[str], ventures: list[str], needs_skill: float = 0.3) -> Story:
    """A task that somebody with one of these capabilities can do, in one of these ventures."""
    trade = draw.choice([trade for trade in TRADES if trade.capability in capabilities] or list(TRADES))
    gaps = {"subject": draw.choice(trade.subjects), "place": draw.choice(trade.places)}
    title = draw.choice(trade.titles).format(**gaps)
    details = [text.format(**gaps) for text in draw.sample(DETAILS, draw.randint(0, 3))]
    fields: dict[str, Any] = {
        "title": title,
        "description": "\n\n".join(details),
        "priority": draw.choices(("low", "medium", "high", "urgent"), (2, 6, 3, 1))[0],
        "tags": sorted({draw.choice(trade.tags)}),
    }
    if ventures:
        fields["venture"] = draw.choice(ventures)
    if trade.capability in capabilities and draw.random() < needs_skill:
        fields["required_capabilities"] = [trade.capability]
    return Story(fields, trade)


def trade_of(task: dict[str, Any], draw: random.Random) -> Trade:
    """The trade of a claimed task, by what it requires or by its tags; any other otherwise."""
    for capability in task.get("required_capabilities") or ():
        if capability in BY_CAPABILITY:
            return BY_CAPABILITY[capability]
    tags = set(task.get("tags") or ())
    fitting = [trade for trade in TRADES if tags & set(trade.tags)]
    return draw.choice(fitting or list(TRADES))
