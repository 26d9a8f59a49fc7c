"""What Python 2 wrote, as the original would have with it."""

from __future__ import annotations

# Made once with Python 2.7.18, print base64.b64encode(pickle.dumps(data, protocol)): system() and twice process() as
# above, at 2013-07-14 09:30:00.250000, with pid 7, 'java', and pid 8, 'java\xc3\x9f'. There, text is bytes, and the
# processes' memory is long: 4096L.
PYTHON_2_PICKLES = {  # by protocol
    0: (
        "KGRwMApTJ3Byb2Nlc3NlcycKcDEKKGxwMgooZHAzClMndm1zX21lbW9yeScKcDQKTDgxOTJMCnNTJ2NwdV91c2FnZScKcDUKRjEu"
        "NQpzUydyc3NfbWVtb3J5JwpwNgpMNDA5NkwKc1MnbmFtZScKcDcKUydqYXZhJwpwOApzUydwaWQnCnA5Ckk3CnNTJ2RhdGV0aW1l"
        "JwpwMTAKY2RhdGV0aW1lCmRhdGV0aW1lCnAxMQooUydceDA3XHhkZFx4MDdceDBlXHRceDFlXHgwMFx4MDNceGQwXHg5MCcKcDEy"
        "CnRwMTMKUnAxNApzUydmaWx0ZXInCnAxNQpnOApzYShkcDE2Cmc0Ckw4MTkyTApzZzUKRjEuNQpzZzYKTDQwOTZMCnNnNwpTJ2ph"
        "dmFceGMzXHg5ZicKcDE3CnNnOQpJOApzZzEwCmcxNApzZzE1Cmc4CnNhc1Mnc3lzdGVtJwpwMTgKKGxwMTkKKGRwMjAKZzUKRjEy"
        "LjUKc2cxMApnMTQKc1MnbWVtX3VzZWQnCnAyMQpJMjAwMApzUydtZW1fcGVyY2VudF91c2VkJwpwMjIKRjAuMjUKc1MnbWVtX3Rv"
        "dGFsJwpwMjMKSTgwMDAKc1MnbWVtX2F2YWlsYWJsZScKcDI0Ckk2MDAwCnNhcy4="
    ),
    1: (
        "fXEAKFUJcHJvY2Vzc2VzcQFdcQIofXEDKFUKdm1zX21lbW9yeXEETDgxOTJMClUJY3B1X3VzYWdlcQVHP/gAAAAAAABVCnJzc19t"
        "ZW1vcnlxBkw0MDk2TApVBG5hbWVxB1UEamF2YXEIVQNwaWRxCUsHVQhkYXRldGltZXEKY2RhdGV0aW1lCmRhdGV0aW1lCnELKFUK"
        "B90HDgkeAAPQkHEMdHENUnEOVQZmaWx0ZXJxD2gIdX1xEChoBEw4MTkyTApoBUc/+AAAAAAAAGgGTDQwOTZMCmgHVQZqYXZhw59x"
        "EWgJSwhoCmgOaA9oCHVlVQZzeXN0ZW1xEl1xE31xFChoBUdAKQAAAAAAAGgKaA5VCG1lbV91c2VkcRVN0AdVEG1lbV9wZXJjZW50"
        "X3VzZWRxFkc/0AAAAAAAAFUJbWVtX3RvdGFscRdNQB9VDW1lbV9hdmFpbGFibGVxGE1wF3VhdS4="
    ),
    2: (
        "gAJ9cQAoVQlwcm9jZXNzZXNxAV1xAih9cQMoVQp2bXNfbWVtb3J5cQSKAgAgVQljcHVfdXNhZ2VxBUc/+AAAAAAAAFUKcnNzX21l"
        "bW9yeXEGigIAEFUEbmFtZXEHVQRqYXZhcQhVA3BpZHEJSwdVCGRhdGV0aW1lcQpjZGF0ZXRpbWUKZGF0ZXRpbWUKcQtVCgfdBw4J"
        "HgAD0JBxDIVxDVJxDlUGZmlsdGVycQ9oCHV9cRAoaASKAgAgaAVHP/gAAAAAAABoBooCABBoB1UGamF2YcOfcRFoCUsIaApoDmgP"
        "aAh1ZVUGc3lzdGVtcRJdcRN9cRQoaAVHQCkAAAAAAABoCmgOVQhtZW1fdXNlZHEVTdAHVRBtZW1fcGVyY2VudF91c2VkcRZHP9AA"
        "AAAAAABVCW1lbV90b3RhbHEXTUAfVQ1tZW1fYXZhaWxhYmxlcRhNcBd1YXUu"
    ),
}
