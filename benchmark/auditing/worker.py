"""A worker process of the audit: each audit is a fork of one that has loaded torch."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from divsal_bench.errors import UserError
from divsal_bench.networks import devices
from divsal_bench.processes.serving import Send, serve

#: What an audit imports on its way.
NEEDED = ("timm", "torch", "safetensors.torch", "pyarrow.dataset", "divsal_bench.auditing.one_run")


def make_audit(content: dict[str, Any], send: Send) -> None:
    """Audit one run."""
    from divsal_bench.auditing.many_runs import AuditJob, audit_one

    try:
        audit, lost = audit_one(AuditJob.from_json(content))
    except UserError:
        raise
    except Exception:
        send("broke", trace=traceback.format_exc())
    else:
        send("audited", audit=audit.model_dump(mode="json"), lost=lost)


if __name__ == "__main__":
    devices.prepare_environment()
    # Audits never leave the CPU.
    serve(NEEDED, lambda content: sys.platform == "linux", make_audit)
