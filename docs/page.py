"""page.py DOCUMENT TITLE SUMMARY: a document in Markdown as input for scdoc, on standard output.

So there is one text. It takes what the documents use of Markdown, and refuses what it does not
know rather than to print it as it is. TITLE is as actd-events(7).
"""

import pathlib
import re
import sys

TAIL = """# SEE ALSO

*actctl*(1), *actd.conf*(5), *actd-events*(7), *actd-protocol*(7), *actd-statistics*(7), *actd*(8)
"""
# Where the documents lead that are pages, too.
PAGES = {f"{name.upper()}.md": f"*actd-{name}*(7)" for name in ("events", "protocol", "statistics")}


def escaped(text):
    text = text.replace("\\", "\\\\").replace("*", "\\*").replace("++", "+\\+")
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def link(match):
    text, target = match[1], match[2]
    return PAGES.get(target.rpartition("/")[2], text)


def inline(text):
    """A line's text with its marks turned into scdoc's."""
    text = re.sub(r"\[([^]]+)\]\(([^)\s]+)\)", link, text)
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*|\*[\w.-]+\*\(\d\))", text)
    for i, part in enumerate(parts):
        if part.startswith("`"):
            parts[i] = f"*{escaped(part.strip('`'))}*"
        elif part.startswith("**"):
            parts[i] = f"*{escaped(part.strip('*'))}*"
        elif not re.fullmatch(r"\*[\w.-]+\*\(\d\)", part):
            parts[i] = escaped(part)
    text = "".join(parts)
    return "\\" + text if re.match(r"[-.#\[|\];`]", text) else text


def cells_of(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table(lines):
    """A list: what a row is about, and below it the other columns."""
    head, rows = cells_of(lines[0]), [cells_of(line) for line in lines[2:]]
    if "metric" in head[1:2] or "in /metrics" in head[1:2]:
        return statistics(rows)
    result = []
    for row in rows:
        cells = [inline(cell) for cell in row]
        if len(row) > 2:
            cells[1:] = ["; ".join(f"{name}: {cell}" for name, cell in zip(head[1:], cells[1:]))]
        result += [cells[0], *(f"\t{cell}" for cell in cells[1:]), ""]
    return result


def statistics(rows):
    """Rows of name, name in /metrics, type, unit and meaning, some of which may not be there."""
    result = []
    for name, metric, *kind, meaning in rows:
        facts = ", ".join(inline(fact) for fact in kind if fact)
        where = f"In /metrics: {inline(metric)}." if metric else "Not in /metrics."
        result += [f"{inline(name)} ({facts})", *(f"\t{inline(meaning)}" for _ in meaning[:1]),
                   f"\t{where}", ""]
    return result


def block(lines):
    """A block of lines between empty ones."""
    first = lines[0]
    if first.startswith("# "):
        return []
    if first.startswith("## "):
        words = first[3:].split(" ")
        return ["# " + " ".join(w if w.startswith("/") else w.upper() for w in words), ""]
    if first.startswith("|"):
        return table(lines)
    if first.startswith("* "):
        return [*(f"- {inline(line[2:])}" if line.startswith("* ") else f"  {inline(line.strip())}"
                  for line in lines), ""]
    if first.startswith("    "):
        return ["```", *(line[4:].replace("\\", "\\\\") for line in lines), "```", ""]
    if re.match(r"[>#]|```|\d+\. ", first):
        sys.exit(f"page.py: not known here: {first}")
    return [*map(inline, lines), ""]


def blocks(text):
    for part in re.split(r"\n{2,}", text.strip("\n")):
        yield part.split("\n")


document, title, summary = sys.argv[1:]
name = title.partition("(")[0]
sys.stdout.write(f'{title} "actd"\n\n# NAME\n\n{name} - {summary}\n\n# DESCRIPTION\n\n')
for lines in blocks(pathlib.Path(document).read_text()):
    sys.stdout.writelines(f"{line}\n" for line in block(lines))
sys.stdout.write(TAIL.replace(f"*{name}*(7), ", ""))
