"""The pages: one Flask-Admin view per file, with templates of our own."""

from __future__ import annotations

from flask import Flask
from flask_admin import Admin
from flask_admin.theme import Theme

from dashboard.web.admin import fragments, kept_parts, layout
from dashboard.web.admin.activation import ActivationPages
from dashboard.web.admin.audit import log_view
from dashboard.web.admin.audit.audit_pages import AuditPages
from dashboard.web.admin.backend_forms.backend_form import BackendForm
from dashboard.web.admin.backend_forms.probes import ProbePages
from dashboard.web.admin.backends.backend_pages import BackendPages
from dashboard.web.admin.bucket_settings import BucketSettingsPages
from dashboard.web.admin.files.browser_pages import FilesPages
from dashboard.web.admin.files.file_edits import FileEditPages
from dashboard.web.admin.files.file_questions import FileQuestions
from dashboard.web.admin.files.folder_jobs import FolderJobPages
from dashboard.web.admin.files.links import LinkPages
from dashboard.web.admin.files.old import OldFilesPage
from dashboard.web.admin.files.search_pages import SearchPages
from dashboard.web.admin.files.upload_policy_pages import UploadPolicyPages
from dashboard.web.admin.health.health_page import HealthPage
from dashboard.web.admin.health.workers_page import WorkersPage
from dashboard.web.admin.migrations.ledger_pages import LedgerPages
from dashboard.web.admin.migrations.migration_new import NewMigration
from dashboard.web.admin.migrations.migrations import MigrationPages
from dashboard.web.admin.overview.overview_page import Overview
from dashboard.web.admin.palette.search_page import SearchEverything
from dashboard.web.admin.schedules.copy_pages import CopyPages
from dashboard.web.admin.schedules.schedule_pages import SchedulePages
from dashboard.web.admin.settings.account_pages import SettingsPages
from dashboard.web.admin.settings.api_document import ApiDocument
from dashboard.web.admin.settings.backup_pages import BackupPages
from dashboard.web.admin.settings.environment_pages import EnvironmentPages
from dashboard.web.admin.settings.keys import KeyPages
from dashboard.web.admin.settings.notification_pages import NotificationPages
from dashboard.web.admin.settings.preferences_page import PreferencesPage
from dashboard.web.admin.settings.session_pages import SessionPages
from dashboard.web.admin.settings.tokens import TokenPages
from dashboard.web.admin.settings.users import UserPages
from dashboard.web.admin.usage.price_pages import PricePages
from dashboard.web.admin.usage.usage_pages import UsagePages

BASE = "admin/base.html"


def install(app: Flask) -> None:
    """Register every page. The order here is the order of the menu."""
    # Flask-Admin has no theme of this name, so none of its Bootstrap templates is reachable.
    theme = Theme(folder="stowage", base_template=BASE)
    admin = Admin(app, name="Stowage", url="/", index_view=Overview(), theme=theme)
    admin.add_views(
        BackendPages(),
        BackendForm(),
        ProbePages(),
        BucketSettingsPages(),
        ActivationPages(),
        FilesPages(),
        FileQuestions(),
        FileEditPages(),
        FolderJobPages(),
        SearchPages(),
        MigrationPages(),
        NewMigration(),
        LedgerPages(),
        HealthPage(),
        WorkersPage(),
        LinkPages(),
        OldFilesPage(),
        UsagePages(),
        PricePages(),
        AuditPages(),
        SettingsPages(),
        PreferencesPage(),
        EnvironmentPages(),
        UploadPolicyPages(),
        UserPages(),
        KeyPages(),
        SchedulePages(),
        CopyPages(),
        BackupPages(),
        NotificationPages(),
        SessionPages(),
        TokenPages(),
        ApiDocument(),
        SearchEverything(),
    )
    fragments.install(app)
    kept_parts.install(app)
    layout.install(app)
    log_view.install(app)
