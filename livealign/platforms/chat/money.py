"""Amounts of money as people read them in any locale.

"$5.00", "1.234,50 €", "¥1,000", "CA$2", "R$ 10,00", "₹1,00,000".
"""

import re

_NUMBER = re.compile(r"\d(?:[\d.,'’ \u00a0\u202f٫٬]*\d)?")


def amount_of(text: str) -> float | None:
    """The number in the text; None where there is none.

    The last of "." and "," is the decimal sign where it is followed by one or two digits, or where both occur; else it
    groups thousands ("1,000", "1.000").
    """
    found = _NUMBER.search(text)
    if found is None or len(found[0]) > 40:
        return None
    number = re.sub(r"[’'  \u00a0\u202f٬]", "", found[0]).replace("٫", ".")
    place = max(number.rfind("."), number.rfind(","))
    if place < 0:
        return float(number)
    sign, decimals = number[place], len(number) - place - 1
    whole = re.sub(r"[.,]", "", number[:place])
    other = "," if sign == "." else "."
    is_decimal = number.count(sign) == 1 and (decimals <= 2 or other in number)
    return float(f"{whole}.{number[place + 1 :]}") if is_decimal else float(whole + number[place + 1 :])
