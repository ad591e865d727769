"""What runs on the clock: nothing yet beside the publication of documents.

A month of a board begins with its first score and has no end to be seen to: it is named by the
instants of its scores. What runs all the time, the projector and the payer of rewards, is wired in
`service.py`.
"""

from shared.jobs import Job

JOBS: tuple[Job, ...] = ()
