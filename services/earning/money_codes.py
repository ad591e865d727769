"""Codes of money.

Source: ISO 4217, list one (currencies and funds) with its amendments up to 2026, without metals and
codes for tests; and the codes withdrawn since 2020, in which older purchases may be.
"""

import difflib
import re

_CURRENT = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD
CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP
GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR
KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN
MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD
SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX
USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XCD XCG XDR XOF XPF YER ZAR ZMW ZWG
"""
_WITHDRAWN = "ANG BGN CUC HRK SLL ZWL"
_LETTERS = re.compile("[A-Z]{3}")
CODES = frozenset(_CURRENT.split()) | frozenset(_WITHDRAWN.split())


def complaint(code: str) -> str:
    """What is wrong with three letters for money, with what may be meant; empty when nothing is.

    What is no three letters is told by the rules of the proto.
    """
    if code in CODES or not _LETTERS.fullmatch(code):
        return ""
    swapped = [each for each in sorted(CODES) if sorted(each) == sorted(code)]
    near = swapped or difflib.get_close_matches(code, sorted(CODES), 3, cutoff=0.6)
    meant = f"did you mean {' or '.join(near)}?" if near else "write one such as EUR"
    return f"{code} is no code of ISO 4217; {meant}"
