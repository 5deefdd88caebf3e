"""Plots of what bench/pages has measured, by gnuplot: each as PNG and SVG."""
import os
import shutil
import subprocess

import pages_tools as tools

TERMINALS = {
    "png": "pngcairo size 1000,620 font 'Sans,12' linewidth 1.5",
    "svg": "svg size 1000,620 font 'Sans,14' linewidth 1.5 background '#ffffff'",
}
# Seen apart also by those who see fewer colours (Okabe and Ito).
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#777777"
COMMON = """
set encoding utf8
set border 3 linecolor rgb '#444444'
set tics nomirror
set grid ytics linetype 1 linecolor rgb '#cccccc' linewidth 0.5
set key at screen 0.5, screen 0.905 top center horizontal Left reverse samplen 2.5 spacing 1.2
set tmargin 6
set style fill solid 0.85 noborder
"""
BARS = """
set style data histograms
set style histogram clustered gap 1.2
set boxwidth 0.9
set yrange [0:*]
set offsets 0, 0, graph 0.08, 0
"""
# Of hot lookups in each mode: figure, title, dashes, points.
HOT_CURVES = (("hot_p99_us", "p99", 1, 7), ("hot_any_p99_us", "p99 of any time", 2, 6))
TIMEOUT_S = 60


def is_there():
    return shutil.which("gnuplot") is not None


def block(name, lines):
    text = "".join(" ".join(map(str, line)) + "\n" for line in lines)
    return f"${name} << END\n{text}END\n"


def curve(name, colour, title, dash=1, points=7, point_size=1):
    style = f"lines dashtype {dash}"
    if points > 0:
        style = f"linespoints pointtype {points} pointsize {point_size} dashtype {dash}"
    return f"${name} with {style} linewidth 1.6 linecolor rgb '{colour}' title '{title}'"


def curves_text(curves):
    return "plot " + ", ".join(curves)


def x_range(values):
    """Of a log scale: a little beyond them."""
    return f"set xrange [{min(values) / 1.5}:{max(values) * 1.5}]\n"


def bars(name, column, at, colour, title, form, axes="x1y1"):
    """Of two that stand side by side, with their figures on top."""
    return (f"${name} using {column}:xtic(1) axes {axes} linecolor rgb '{colour}' title '{title}', "
            f"${name} using ($0{at}):{column}:(sprintf('{form}', ${column})) axes {axes} "
            "with labels offset 0,0.6 notitle")


def draw_first(result):
    script, curves = "", []
    for (name, samples), colour in zip(result["samples_us"].items(), (RED, BLUE, GREEN)):
        ordered = sorted(samples)
        script += block(name, [(x, 100 * (i + 1) / len(ordered)) for i, x in enumerate(ordered)])
        curves.append(curve(name, colour, f"asked for the {name} time", points=0))
    return script + """
set logscale x
set grid xtics linetype 1 linecolor rgb '#cccccc' linewidth 0.5
set xlabel 'time of a lookup, microseconds (log scale)'
set ylabel 'lookups that were at most so long, %'
set yrange [0:101]
set format x '%g'
""" + curves_text(curves)


def draw_access(result):
    rows = [(row["pattern"], row["us"], row["major"] + row["minor"]) for row in result["rows"]]
    script = block("rows", rows) + BARS + """
set ylabel 'microseconds a lookup'
set y2label 'page faults a lookup'
set y2range [0:*]
set y2tics
set border 11
"""
    return script + curves_text([
        bars("rows", 2, "-0.16", BLUE, "time a lookup (left)", "%.3g"),
        bars("rows", 3, "+0.16", ORANGE, "page faults a lookup (right)", "%.3g", "x1y2")])


def draw_scan(result):
    rates = {(row["state"], row["advice"]): row["mb_per_s"] for row in result["rows"]}
    advices = list(dict.fromkeys(row["advice"] for row in result["rows"]))
    rows = [(f'"madvise {advice}"', rates[("cold", advice)], rates[("warm", advice)])
            for advice in advices]
    return block("rows", rows) + BARS + "set ylabel 'MB a second'\n" + curves_text([
        bars("rows", 2, "-0.16", BLUE, "file not in memory", "%.0f"),
        bars("rows", 3, "+0.16", ORANGE, "file in memory", "%.0f")])


def draw_open(result):
    script, curves = "", []
    looks = {("read", "cold"): (RED, 1), ("read", "warm"): (ORANGE, 2), ("map", "cold"): (BLUE, 1),
             ("map", "warm"): (GREEN, 2)}
    for (how, state), (colour, dash) in looks.items():
        points = [(row["bytes"] / tools.MB, row["total_ms"]) for row in result["rows"]
                  if (row["how"], row["state"]) == (how, state)]
        if points:
            script += block(f"{how}_{state}", points)
            text = "mapped" if how == "map" else "read into memory"
            where = "not in memory" if state == "cold" else "in memory"
            curves.append(curve(f"{how}_{state}", colour, f"{text}, file {where}", dash))
    return script + """
set logscale xy
set xlabel 'size of the file, MB (log scale)'
set ylabel 'from opening to the first answer, ms (log scale)'
set format '%g'
""" + x_range([row["bytes"] / tools.MB for row in result["rows"]]) + curves_text(curves)


def draw_restart(result):
    """The p99 as it falls, on the slowest disk, in the first round."""
    slowest = max(one["delay_ms"] for one in result["rounds"])
    script, curves, longest = "", [], 0
    for mode, colour in (("none", RED), ("restore", BLUE)):
        one = next(each for each in result["rounds"]
                   if (each["delay_ms"], each["mode"]) == (slowest, mode))
        script += block(mode, one["series"])
        curves.append(curve(mode, colour, f"warmup.mode = {mode}"))
        longest = max(longest, one["series"][-1][0])
    disk = f"a disk of {slowest:g} ms" if slowest else "this disk"
    return script + f"""
set logscale y
set xlabel 'seconds after the start, {disk}'
set ylabel 'p99 of a lookup, microseconds (log scale)'
set xrange [0:{longest * 1.02}]
set format y '%g'
""" + curves_text(curves)


def draw_disk(result):
    script, curves = "", []
    for mode, colour in (("inline", RED), ("offload", BLUE)):
        rows = [row for row in result["rows"] if row["mode"] == mode]
        for key, text, dash, points in HOT_CURVES:
            name = f"{mode}_{key}"
            script += block(name, [(row["delay_ms"], row[key] / 1000) for row in rows])
            curves.append(curve(name, colour, f"{mode}: {text}", dash, points))
    rows = [row for row in result["rows"] if row["mode"] == "offload"]
    for key, text, dash in (("alone_p99_us", "p99", 1), ("alone_any_p99_us", "p99 of any time", 2)):
        script += block(key, [(row["delay_ms"], row[key] / 1000) for row in rows])
        curves.append(curve(key, GREY, f"alone: {text}", dash, 0))
    delays = [row["delay_ms"] for row in rows]
    script += f"set xtics ({', '.join(map(str, delays))})\n" + x_range(delays)
    return script + """
set logscale xy
set key maxrows 2
set xlabel 'a read of the disk, ms (log scale)'
set ylabel 'a hot lookup, ms (log scale)'
set format '%g'
""" + curves_text(curves)


def draw_memory(result):
    # The first two are almost the same: the rings stand around the points.
    keys = (("loaded_pss_mb", RED, "each has read the file: Pss", 1, 7, 1),
            ("mapped_rss_mb", GREY, "the mapping: Rss, where shared pages count again", 2, 6, 2),
            ("workers_pss_mb", BLUE, "workers with one mapped file: Pss", 1, 7, 1))
    script, curves = "", []
    for key, *look in keys:
        script += block(key, [(row["workers"], row[key]) for row in result["rows"]])
        curves.append(curve(key, *look))
    return script + """
set tmargin 8
set xlabel 'processes'
set ylabel 'memory of all of them, MB'
set yrange [0:*]
set xrange [0.5:*]
set xtics 1
set offsets 0, 0.5, 0, 0
""" + curves_text(curves)


DRAWINGS = {"first": draw_first, "access": draw_access, "scan": draw_scan, "open": draw_open,
            "disk": draw_disk, "restart": draw_restart,
            "memory": draw_memory}


def title_of(result, conditions):
    """Two lines above the key, in gnuplot's markup, where some characters have a meaning."""
    small = conditions.replace("_", "\\\\_")
    return (f'set label "{{/:Bold {result["title"]}}}" at screen 0.5, screen 0.965 center\n'
            f'set label "{{/*0.8 {small}}}" at screen 0.5, screen 0.925 center\n')


def draw(name, result, conditions, directory):
    """The paths of what is drawn."""
    body = DRAWINGS[name](result)
    paths = []
    for suffix, terminal in TERMINALS.items():
        path = os.path.join(directory, f"{name}.{suffix}")
        where = path.replace("'", "''")
        script = f"set terminal {terminal}\nset output '{where}'\n"
        script += title_of(result, conditions)
        ended = subprocess.run(["gnuplot"], input=script + COMMON + body + "\n", text=True,
                               capture_output=True, timeout=TIMEOUT_S)
        if ended.returncode != 0 or not os.path.exists(path):
            raise tools.Failed(f"gnuplot cannot draw {name}:\n{ended.stderr.strip()}")
        paths.append(path)
    return paths
