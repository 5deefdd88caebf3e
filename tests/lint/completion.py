"""The completions of bash know every command, flag, option and value that the code has, and no
others. (That they work is tested by tests/process/test_completion.py.)"""

import re

import command_line
import source

problems = []
CLIENT = source.read("client/completion/actctl")
DAEMON = source.read("daemon/completion/actd")


def compare(what, name, wanted, found):
    if wanted != found:
        problems.append(f"{what}: {name}: the code has {wanted}, the completion {found}")


def compare_maps(what, wanted, found):
    assert wanted, f"nothing found in the code: {what}"
    for name in dict.fromkeys([*wanted, *found]):
        compare(what, name, wanted.get(name), found.get(name))


def entries(text, array):
    """{key: words} of a bash array."""
    body = re.search(rf"^declare -gA {array}=\((.*?)^\)", text, re.M | re.S)[1]
    return {key: (quoted or bare).split()
            for key, quoted, bare in re.findall(r"\[([\w.-]+)\]=(?:'([^']*)'|(\w+))", body)}


# actd


def check_daemon():
    compare_maps("actd, options", command_line.config_values(), entries(DAEMON, "_actd_options"))
    text = source.read("daemon/main.c")
    flags = [f"--{name}{'=' if kind == 'required' else ''}" for name, kind in
             re.findall(r'^    \{"([a-z-]+)", (no|required)_argument', text, re.M)]
    short_flags = re.search(r'getopt_long\(argc, argv, "([^"]*)"', text)[1].replace(":", "")
    flags += [f"-{flag}" for flag in short_flags]
    offered = re.search(r"_actd_offer \"\$word\" '' \\\n +(.*)", DAEMON)[1].split()
    compare("actd", "flags", sorted(flags), sorted(offered))


# actctl


def option_values():
    """{option with a value: its few values, or what kind it is}"""
    text = source.read("client/actctl/options.c")
    kinds = {"FILE": ["FILE"]}
    result = {}
    for id, name, _, has_value in command_line.option_rows():
        if not has_value:
            continue
        function = re.search(rf"case OPTION_{id}:\s*return (parse_\w+)", text)
        body = function and re.search(rf"^static int {function[1]}\(.*?^}}", text, re.M | re.S)[0]
        argument = next(row[3].strip('"') for row in
                        source.x_table("client/actctl/options.h", "OPTIONS") if row[0] == id)
        if body and "parse_choice" in body:
            result[name] = sorted(command_line.names_in(body, "names"))
        else:
            result[name] = kinds.get(argument, [])
    return result | {"server": ["SERVER"], "admin": ["ADMIN"]}


def check_client():
    compare_maps("actctl, options of a command", command_line.option_sets(),
                 entries(CLIENT, "_actctl_takes"))
    found = {name: sorted(values) for name, values in entries(CLIENT, "_actctl_values").items()}
    compare_maps("actctl, values of an option", option_values(), found)
    letters = {letter: [name] for _, name, letter, _ in command_line.option_rows() if letter}
    compare_maps("actctl, letters", letters, entries(CLIENT, "_actctl_letters"))
    files = [row[1].strip('"') for row in source.x_table("client/actctl/main.c", "COMMANDS")
             if re.search(r"\b(FILE|IN)\b", row[2])]
    offered = re.search(r"^_actctl_of_files='(.*)'$", CLIENT, re.M)[1].split()
    compare("actctl", "commands of files", sorted(files), sorted(offered))


def check_shared():
    """Each file stands alone, so two functions are in both; they must stay the same."""
    for name in ("words", "offer"):
        found = [re.search(rf"^_{command}_{name}\(\) \{{\n(.*?)^}}", text, re.M | re.S)[1]
                 for command, text in (("actd", DAEMON), ("actctl", CLIENT))]
        if found[0] != found[1]:
            problems.append(f"the function {name} differs between actd and actctl")


check_daemon()
check_client()
check_shared()
source.end(problems)
