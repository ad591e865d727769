"""Voucher codes: 85 random-looking bits and a check character, stored hashed, shown once.

A code is derived from the redemption and a secret of the installation (HMAC-SHA-256), so that a
repeated request can be answered with the same code although only its hash is stored. Codes are
written in Crockford's base 32 (no I, L, O, U); the check character is the code's value modulo 37
over that alphabet and "*~$=U", as Crockford defines it, and finds every single wrong character and
every swap of neighbours.
"""

import hashlib
import hmac

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CHECK_ALPHABET = ALPHABET + "*~$=U"
CODE_CHARS = 17
"""Characters before the check character: 17 x 5 = 85 bits."""
HINT_CHARS = 4
_READ_AS = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})


def code_for(secret: bytes, program_id: str, redemption_id: str) -> str:
    """The code of a redemption, 17 characters and a check character."""
    message = f"{program_id}\0{redemption_id}".encode()
    value = int.from_bytes(hmac.digest(secret, message, hashlib.sha256)) >> (256 - 5 * CODE_CHARS)
    return _text(value) + CHECK_ALPHABET[value % 37]


def normalize(code: str) -> str:
    """A code as it is stored, however a person typed it."""
    return code.upper().translate(_READ_AS)


def is_well_formed(code: str) -> bool:
    """Whether length, alphabet and check character fit, whether or not it was ever issued."""
    typed = normalize(code)
    if len(typed) != CODE_CHARS + 1 or any(char not in ALPHABET for char in typed[:-1]):
        return False
    value = 0
    for char in typed[:-1]:
        value = value * 32 + ALPHABET.index(char)
    return typed[-1] == CHECK_ALPHABET[value % 37]


def stored_hash(secret: bytes, code: str) -> str:
    """What is stored of a code: a keyed hash, useless without the secret."""
    return hmac.new(secret, normalize(code).encode(), hashlib.sha256).hexdigest()


def _text(value: int) -> str:
    chars: list[str] = []
    for _ in range(CODE_CHARS):
        value, digit = divmod(value, 32)
        chars.append(ALPHABET[digit])
    return "".join(reversed(chars))
