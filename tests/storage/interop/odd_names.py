"""Names that file servers are known to bend, hide, refuse or take for something else. No name is a folder of
another one, so each server could hold all of them."""

from __future__ import annotations

import string
import unicodedata

_SPECIAL = "".join(c for c in string.punctuation if c != "/") + " "
_CONTROLS = [chr(code) for code in (*range(1, 32), 127)]
_PAIRS = [
    *(("Case/Upper", "case/Upper"), ("twins/NAME.TXT", "twins/name.txt"), ("twins/Straße", "twins/STRASSE")),
    *(
        (f"nfc/{word}", f"nfc/{unicodedata.normalize('NFD', word)}")
        for word in ("é", "Ångström", "한글", "ǖ")
    ),
    *(("width/abc", "width/ａｂｃ"), ("sign/Ω", "sign/\u2126"), ("ligature/ﬁ", "ligature/fi")),
    *(("i/İ", "i/i̇"), ("dots/a.", "dots/a"), ("spaces/a ", "spaces/a"), ("under/a_b", "under/a\x01b")),
    *(("plus/a+b", "plus/a b"), ("code/%41", "code/A"), ("twice/%2541", "twice/%41")),
    ("slash/a\\b", "slash/a_b"),
]
_LETTERS = [
    *("\u00a0", "\u0085", "\u200b", "\u200d", "\u2028", "\u2029", "\u202e", "\ufeff", "\ufffd", "\ufffe"),
    *("\ue000", "\U0001f600", "\U0001f9d1\u200d\U0001f680", "\U0010ffff", "日本", "العربية", "ไทย", "ñ", "ß"),
]
_SERVERS = [
    *("index.html", "site/index.html", "site/index.php", ".htaccess", "site/.htpasswd", "web.config"),
    *("Thumbs.db", "desktop.ini", ".DS_Store", "._a", "lost+found", ".git/config", ".uploads/a", "a.lock"),
    *(".hidden", ".folder/inside", "...", "..a", "a..", "a...", "name.", "folder./inside", "backup~"),
    *(".#lock", "a.part", ".in.a.", "core", "nohup.out", ".listing", ".nfs0001", ".fuse_hidden1", "@eaDir/a"),
    *("CON", "nul", "aux.txt", "COM1", "lpt9.log", "a:b", "a:$DATA", "C:", "?", "*", "[a]", "{a,b}"),
    *("-rf", "--help", "-la", "~", "~root", "$(id)", "`id`", "; ls", "| ls", "a && b", "!!", "$HOME"),
    *(
        "total 0",
        "drwxr-xr-x",
        "a -> b",
        "-rw-r--r-- 1 a b 5 Jan 1 00:00 c",
        "type=dir;a",
        "200 OK",
        "a;type=i",
    ),
    *("<b>&amp;", "a&b=c", "a?b=c#d", "%", "%%", "%2F", "%00", "%zz", "100%", "%c3%a9", "a%2Fb", "a%2fb"),
    *("'", '"', "a'b", 'a"b', "a\\", "\\a", "\\\\a\\b", "null", "None", "0", "-1", "1e9", "true"),
    *("200 OK", "caf\udce9", "\udcff\udcfe", "folder\udce9/inside"),
    *("x" * 255, "é" * 127, "deep/" + "/".join("abcdefghijklmnopqrst"), "long/" + "/".join(["y" * 60] * 12)),
    *(
        " lead",
        "trail ",
        "  two  ",
        "in  side",
        " ",
        "folder /inside",
        " folder/inside",
        "tab\tfolder/inside",
    ),
]

ODD_NAMES = list(
    dict.fromkeys(
        [
            *(f"at {n}/{name}" for n, c in enumerate(_SPECIAL) for name in (f"x{c}y", f"{c}x", f"x{c}")),
            *(f"control {ord(c)}/x{c}y" for c in _CONTROLS),
            *(f"letter {n}/x{letter}y" for n, letter in enumerate(_LETTERS)),
            *(name for pair in _PAIRS for name in pair),
            *_SERVERS,
        ]
    )
)
"""All of them, a few hundred."""

SOME_ODD_NAMES = [*(name for pair in _PAIRS for name in pair), *_SERVERS[::4]]
"""A selection of about sixty."""
