"""Ask a person before anything is published; no answer is a HOLD."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param

from tasks.act import APPROVAL, VERDICT

PATIENCE = timedelta(hours=24)
_TOLD = f"ti.xcom_pull(task_ids='{VERDICT}')"
_SUBJECT = (
    f"Publish {{{{ {_TOLD}.what }}}} of profile {{{{ params.profile }}}}? "
    f"The verdict is {{{{ {_TOLD}.decision }}}}"
)
_BODY = f"""\
**{{{{ {_TOLD}.decision }}}}**: {{{{ {_TOLD}.reason }}}}

{{% for line in {_TOLD}.evidence %}}
- {{{{ line }}}}
{{%- endfor %}}

Published now: {{{{ {_TOLD}.current }}}}. The whole verdict:
{{%- if {_TOLD}.page %}} [with pictures]({{{{ {_TOLD}.page }}}}),{{% endif %}}
[verdict.json]({{{{ {_TOLD}.link }}}})
(`tessera verdict --profile {{{{ params.profile }}}}
{{%- if params.version %}} --version {{{{ params.version }}}}{{% endif %}}`).

{{% if {_TOLD}.needs_override %}}**To approve is an override**: without a reason nothing is
published. {{% endif %}}Your name and the reason are recorded for ever. Without an answer within
{PATIENCE.total_seconds() / 3600:.0f} hours nothing is published.
"""


def ask_approval() -> ApprovalOperator:
    """Return the task that shows the verdict and waits; to reject, or not to answer, skips on."""
    reason = "Why this is published against or without a PROMOTE; recorded for ever."
    return ApprovalOperator(
        task_id=APPROVAL,
        subject=_SUBJECT,
        body=_BODY,
        defaults=ApprovalOperator.REJECT,
        response_timeout=PATIENCE,
        params={"reason": Param(None, reason, type=["null", "string"], maxLength=500)},
        doc_md="Wait for a person; a rejection or a day without an answer publishes nothing.",
    )


def note_approval() -> EmptyOperator:
    """Return the task that is skipped with a rejection, which is what the recording waits for.

    Were the recording to follow the publishing itself, it would be the run's last task, and a
    publishing that failed would end as a success.
    """
    return EmptyOperator(task_id="approved", doc_md="Skipped if nobody approved.")
