"""The part of Weights & Biases' protocol that a run's history needs: GraphQL, uploads and the file stream.

The SDK (wandb 0.31) is not used for it. It writes from the line count on that the server reports: a count
that was behind by 4 made it overwrite 4 steps. It drops steps below the server's last without a word, and its
process dies at a SIGTERM to the job. Here each request is acknowledged before the next, and each line has a
fixed place, so that a request may be repeated. Operations and fields are those of that SDK.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_netrc_auth
from urllib3.util import Retry

from pipeline.errors import RunError
from pipeline.monitor.wandb_address import base_url, run_url
from pipeline.monitor.wandb_history import Known, Row

CONNECT_TIMEOUT_S = 10.0
TIMEOUT_S = 60.0
"""Longest wait for an answer; the request is then sent again."""
ONCE_TIMEOUT_S = 10.0
"""Longest wait for an answer to a request that is sent only once."""
RETRIES = Retry(
    total=6,
    connect=3,
    backoff_factor=0.5,
    backoff_max=30,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,  # POST too: whatever is sent twice takes its own place
    raise_on_status=False,
)

RESUME_STATUS = """
query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $name, missingOk: true) { id summaryMetrics historyLineCount historyTail }
  }
}"""
UPSERT = """
mutation UpsertBucket(
  $id: String, $name: String, $project: String, $entity: String, $displayName: String, $config: JSONString
) {
  upsertBucket(input: {
    id: $id, name: $name, modelName: $project, entityName: $entity, displayName: $displayName, config: $config
  }) {
    bucket { id name project { name entity { name } } }
    inserted
  }
}"""
CREATE_FILES = """
mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
  createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) {
    uploadHeaders
    files { name uploadUrl }
  }
}"""


class TryLater(RunError):
    """The server cannot be reached or is too busy, or the run is still starting."""


class NotBegun(TryLater):
    """The first attempt of the run has not begun."""


class WandbRun:
    """A run at the server, created there when it is not known. Raises RunError, TryLater among them."""

    def __init__(
        self, run_id: str, name: str, project: str, config: dict[str, Any], once: bool = False
    ) -> None:
        """Open the run and read what the server has of it: `known`.

        config: the run's configuration, shown beside its curves. once: send each request only once. Reads
        WANDB_BASE_URL, WANDB_API_KEY, WANDB_ENTITY and the files that `wandb login` writes.
        """
        self._timeout_s = ONCE_TIMEOUT_S if once else TIMEOUT_S
        retries = RETRIES.new(total=0) if once else RETRIES
        self._base = base_url()
        self._session = requests.Session()
        self._session.auth = ("api", api_key(self._base))
        self._session.mount("http://", HTTPAdapter(max_retries=retries))
        self._session.mount("https://", HTTPAdapter(max_retries=retries))
        where = {"name": run_id, "project": project, "entity": os.environ.get("WANDB_ENTITY")}
        bucket = self._bucket(where)
        self.known = _known(bucket)
        shown = {key: {"value": value} for key, value in config.items()} | {"_wandb": {"value": TOKENS_AXIS}}
        what = where | {"id": bucket.get("id"), "displayName": name, "config": json.dumps(shown)}
        upserted = self._query(UPSERT, what)["upsertBucket"]["bucket"]["project"]
        self._where = {"entity": upserted["entity"]["name"], "project": upserted["name"], "run": run_id}

    @property
    def url(self) -> str:
        """Where people look at the run."""
        return run_url(self._base, self._where["entity"], self._where["project"], self._where["run"])

    def catch_up(self) -> None:
        """Put into `known` what another process has sent meanwhile, if that is more than we know of."""
        found = _known(self._bucket(self._where | {"name": self._where["run"]}))
        if found.last_line.get("_step", 0) > self.known.last_line.get("_step", 0):
            self.known = found

    def stream(
        self, lines: Sequence[Row] = (), offset: int = 0, summary: Row | None = None, complete: bool = False
    ) -> None:
        """Send history lines that begin at place `offset`, and the summary; without either, a sign of life.

        complete: the run sends no more. `known` changes once the server has acknowledged.
        """
        files: dict[str, Any] = {}
        if lines:
            content = [json.dumps(line, allow_nan=False) for line in lines]
            files["wandb-history.jsonl"] = {"offset": offset, "content": content}
        if summary is not None:
            files["wandb-summary.json"] = {"offset": 0, "content": [json.dumps(summary)]}
        body = ({"files": files} if files else {}) | ({"complete": True, "exitcode": 0} if complete else {})
        place = "/".join(quote(self._where[part], safe="") for part in ("entity", "project", "run"))
        self._ask("POST", f"{self._base}/files/{place}/file_stream", json=body)
        if lines and offset + len(lines) >= self.known.line_count:  # else some were sent again
            self.known = replace(self.known, line_count=offset + len(lines), last_line=lines[-1])
        if summary is not None:
            self.known = replace(self.known, summary=summary)

    def upload_table(self, key: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> Row:
        """Upload a table; return what stands for it in a history line."""
        content = json.dumps({"columns": columns, "data": data}).encode()
        sha256 = hashlib.sha256(content).hexdigest()
        path = f"media/table/{key}_{sha256[:20]}.table.json"
        created = self._query(CREATE_FILES, self._where | {"files": [path]})["createRunFiles"]
        headers = dict(header.split(":", 1) for header in created["uploadHeaders"])
        for file in created["files"]:
            url = file["uploadUrl"]
            # The address is signed, mostly of another host: our key is not for it.
            auth = None if urlsplit(url).netloc == urlsplit(self._base).netloc else _NoAuth()
            self._ask("PUT", url, data=content, headers=headers, auth=auth)
        counts = {"ncols": len(columns), "nrows": len(data)}
        return {"_type": "table-file", "path": path, "sha256": sha256, "size": len(content)} | counts

    def _bucket(self, where: dict[str, Any]) -> dict[str, Any]:
        """What the server has of a run; empty when it does not know it."""
        return ((self._query(RESUME_STATUS, where)["model"] or {}).get("bucket")) or {}

    def _query(self, query: str, variables: dict[str, Any]) -> Any:
        answer = self._ask("POST", f"{self._base}/graphql", json={"query": query, "variables": variables})
        if errors := answer.get("errors"):
            raise RunError(f"{self._base}: {errors[0].get('message', errors[0])}")
        if not answer.get("data"):
            raise RunError(f"{self._base} answers without data: expected the address of a W&B server")
        return answer["data"]

    def _ask(self, method: str, url: str, **request: Any) -> Any:
        try:
            response = self._session.request(
                method, url, timeout=(CONNECT_TIMEOUT_S, self._timeout_s), **request
            )
        except ValueError as error:
            raise RunError(f"WANDB_BASE_URL is {self._base!r}: {error}") from None
        except requests.RequestException as error:
            cause = str(getattr(error.args[0], "reason", error)) if error.args else type(error).__name__
            raise TryLater(f"{self._base} cannot be reached ({cause.rpartition(': ')[2]})") from None
        if response.status_code in RETRIES.status_forcelist or response.status_code == 404:
            # 404: the server does not know the run any more, so that it must be opened again
            raise TryLater(f"{self._base} answered {response.status_code} {response.reason}")
        if response.status_code in (401, 403):
            raise RunError(f"{self._base} refuses the API key: run `wandb login`, or set WANDB_API_KEY")
        if not response.ok:
            raise RunError(f"{self._base} answered {response.status_code}: {response.text[:200]}")
        try:
            return {} if method == "PUT" else response.json()
        except ValueError:
            raise RunError(f"{self._base} answers no JSON: expected the address of a W&B server") from None


TOKENS_AXIS = {"m": [{"1": "tokens", "6": [3], "7": []}, {"2": "*", "5": 1, "6": [1], "7": []}]}
"""What the SDK makes of define_metric("tokens") and define_metric("*", step_metric="tokens")."""


def api_key(base: str) -> str:
    """Return the key for a server: WANDB_API_KEY, or what `wandb login` has written to ~/.netrc.

    Raises RunError when there is none.
    """
    if key := os.environ.get("WANDB_API_KEY") or (get_netrc_auth(base) or ("", ""))[1]:
        return key
    raise RunError(f"no API key for {base}: run `wandb login`, or set WANDB_API_KEY")


class _NoAuth(requests.auth.AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _known(bucket: dict[str, Any]) -> Known:
    tail = json.loads(bucket.get("historyTail") or "[]")
    return Known(
        line_count=bucket.get("historyLineCount") or 0,
        last_line=json.loads(tail[-1]) if tail else {},
        summary=json.loads(bucket.get("summaryMetrics") or "{}"),
    )
