"""Web servers out of Debian's packages, each with the WebDAV that comes with it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence

from tests.servers.foreign.packaged import Packaged
from tests.servers.foreign.server import PASSWORD, USER


class _Web(Packaged):
    driver_name = "webdav"
    modules = ""
    """Where its modules lie, below ``usr``."""

    def values(self) -> Mapping[str, str]:
        """One user."""
        digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
        (self.folder / "users").write_text(f"{USER}:{{SHA}}{digest}\n")
        return {"MODULES": f"{self.root}/{self.modules}"}

    def options(self, folder: str) -> Mapping[str, str]:
        """See ``ForeignServer``."""
        return {"endpoint": f"http://127.0.0.1:{self.port}", "username": USER, "prefix": folder}


class Apache(_Web):
    """mod_dav, with ``index.html`` shown for a folder as Debian has it."""

    package = "apache2-bin"
    needs = ("usr/sbin/apache2", "usr/lib/apache2/modules/mod_dav_fs.so")
    modules = "usr/lib/apache2/modules"
    sign_in = """
AuthType Basic
AuthBasicProvider file
"""
    configuration = """
ServerRoot @FOLDER@
ServerName 127.0.0.1
Listen 127.0.0.1:@PORT@
PidFile @FOLDER@/apache.pid
ErrorLog @FOLDER@/error.log
LoadModule mpm_event_module @MODULES@/mod_mpm_event.so
LoadModule authn_core_module @MODULES@/mod_authn_core.so
LoadModule authn_file_module @MODULES@/mod_authn_file.so
LoadModule authz_core_module @MODULES@/mod_authz_core.so
LoadModule authz_user_module @MODULES@/mod_authz_user.so
LoadModule auth_basic_module @MODULES@/mod_auth_basic.so
LoadModule auth_digest_module @MODULES@/mod_auth_digest.so
LoadModule dav_module @MODULES@/mod_dav.so
LoadModule dav_fs_module @MODULES@/mod_dav_fs.so
LoadModule mime_module @MODULES@/mod_mime.so
LoadModule dir_module @MODULES@/mod_dir.so
TypesConfig @FOLDER@/types
DavLockDB @FOLDER@/locks
DocumentRoot @FILES@
<Directory />
AllowOverride None
</Directory>
<Directory @FILES@>
DirectoryIndex index.html
Dav On
@SIGN_IN@
AuthName stowage
AuthUserFile @FOLDER@/users
Require valid-user
</Directory>
"""

    def values(self) -> Mapping[str, str]:
        """See ``_Web``."""
        (self.folder / "types").write_text("text/html html\ntext/plain txt\n")
        return {**super().values(), "SIGN_IN": self.sign_in}

    def program(self) -> Sequence[str]:
        """See ``Packaged``."""
        return [self.binary, "-DFOREGROUND", "-f", str(self.folder / "server.conf")]


class ApacheDigest(Apache):
    """Only takes sign-ins by Digest (RFC 7616, with MD5)."""

    sign_in = """
AuthType Digest
AuthDigestProvider file
AuthDigestAlgorithm MD5
"""

    def values(self) -> Mapping[str, str]:
        """See ``_Web``."""
        values = super().values()
        digest = hashlib.md5(f"{USER}:stowage:{PASSWORD}".encode()).hexdigest()
        (self.folder / "users").write_text(f"{USER}:stowage:{digest}\n")
        return values


class Nginx(_Web):
    """Its own WebDAV and, for listings, the module dav-ext."""

    package = "libnginx-mod-http-dav-ext"
    needs = ("usr/sbin/nginx", "usr/lib/nginx/modules/ngx_http_dav_ext_module.so")
    modules = "usr/lib/nginx/modules"
    configuration = """
daemon off;
load_module @MODULES@/ngx_http_dav_ext_module.so;
pid @FOLDER@/nginx.pid;
error_log @FOLDER@/error.log;
worker_processes 2;
events {}
http {
  access_log off;
  types { text/html html; text/plain txt; }
  client_body_temp_path @FOLDER@/bodies;
  proxy_temp_path @FOLDER@/proxy;
  fastcgi_temp_path @FOLDER@/fastcgi;
  uwsgi_temp_path @FOLDER@/uwsgi;
  scgi_temp_path @FOLDER@/scgi;
  server {
    listen 127.0.0.1:@PORT@;
    root @FILES@;
    client_max_body_size 0;
    location / {
      auth_basic stowage;
      auth_basic_user_file @FOLDER@/users;
      dav_methods PUT DELETE MKCOL COPY MOVE;
      dav_ext_methods PROPFIND OPTIONS;
      dav_access user:rw group:r all:r;
    }
  }
}
"""

    def program(self) -> Sequence[str]:
        """See ``Packaged``."""
        errors = str(self.folder / "error.log")
        return [self.binary, "-p", str(self.folder), "-c", str(self.folder / "server.conf"), "-e", errors]


class Lighttpd(_Web):
    """mod_webdav, without a database for locks and properties."""

    package = "lighttpd-mod-webdav"
    needs = ("usr/sbin/lighttpd", "usr/lib/lighttpd/mod_webdav.so")
    modules = "usr/lib/lighttpd"
    configuration = """
server.modules = ("mod_auth", "mod_authn_file", "mod_webdav")
server.document-root = "@FILES@"
server.bind = "127.0.0.1"
server.port = @PORT@
server.errorlog = "@FOLDER@/error.log"
server.upload-dirs = ("@FOLDER@")
mimetype.assign = (".html" => "text/html", ".txt" => "text/plain")
webdav.activate = "enable"
webdav.is-readonly = "disable"
auth.backend = "htpasswd"
auth.backend.htpasswd.userfile = "@FOLDER@/users"
auth.require = ("/" => ("method" => "basic", "realm" => "stowage", "require" => "valid-user"))
"""

    def program(self) -> Sequence[str]:
        """See ``Packaged``."""
        return [
            self.binary,
            "-D",
            "-f",
            str(self.folder / "server.conf"),
            "-m",
            f"{self.root}/{self.modules}",
        ]
