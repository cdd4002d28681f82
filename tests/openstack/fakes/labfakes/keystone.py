"""Keystone as it is, but that people's tokens live LAB_TOKEN_SECONDS; for tests of what happens when they expire.

Keystone has one lifetime for all. Were it short, the services' own tokens would be too: they sign in anew for each request
once a token has less than 30 seconds left, and a server that takes seconds to make takes minutes.
"""

import datetime
import functools
import os

from keystone.common import provider_api
from keystone.token import provider
from oslo_utils import timeutils

SECONDS = int(os.environ["LAB_TOKEN_SECONDS"])
issue_token = provider.Manager.issue_token


def is_service(project_id):
    return provider_api.ProviderAPIs.resource_api.get_project(project_id)["name"] == "service"


@functools.wraps(issue_token)
def issue_short_token(self, user_id, method_names, expires_at=None, **scope):
    # A token made from another one keeps its end. A trust's tokens are Blazar's.
    project_id = scope.get("project_id")
    if expires_at is None and project_id and not scope.get("trust_id") and not is_service(project_id):
        end = timeutils.utcnow() + datetime.timedelta(seconds=SECONDS)
        expires_at = end.replace(microsecond=0)
    return issue_token(self, user_id, method_names, expires_at=expires_at, **scope)


provider.Manager.issue_token = issue_short_token

from keystone.wsgi.api import application  # noqa: E402, F401  (built after the change)
