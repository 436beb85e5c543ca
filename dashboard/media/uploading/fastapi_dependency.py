"""An upload as a dependency of FastAPI: https://fastapi.tiangolo.com/tutorial/dependencies/."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from dashboard.media.file_validator import FileRefused
from dashboard.media.scan import Scanner
from dashboard.media.uploading.async_handler import UploadHandler, UploadResult
from dashboard.media.uploading.upload_config import UploadConfig
from dashboard.storage import Storage


def create_upload_dependency(
    *, storage: Storage | None = None, scanner: Scanner | None = None, **config: Any
) -> Callable[..., Awaitable[UploadResult]]:
    """Return a dependency that takes the form field ``file``, checks and stores it, and gives the route an
    ``UploadResult``. ``config``: the fields of ``UploadConfig``. A file that is not accepted is answered with
    its own status and sentence. Needs ``fastapi`` and ``python-multipart``."""
    from fastapi import HTTPException, UploadFile

    handler = UploadHandler(UploadConfig(**config), storage=storage, scanner=scanner)

    async def upload(file: Any) -> UploadResult:
        try:
            return await handler.process_file(file)
        except FileRefused as error:
            detail = " ".join(text for text in (error.reason, error.remedy) if text)
            raise HTTPException(error.refusal.status, detail) from error

    upload.__annotations__["file"] = UploadFile
    return upload
