"""The GitLab and Gitea drivers on servers of this process, and what a test asks of either. `opened` takes filters."""

from collections.abc import Callable
from dataclasses import dataclass

from gitea_server import GiteaServer
from gitlab_server import GitLabServer

from luminaguard.forges.base import Filters
from luminaguard.forges.gitea.forge import Gitea
from luminaguard.forges.gitlab.forge import GitLab
from luminaguard.forges.http_project import ApiToken, Project

TOKEN = ApiToken(text="secret", source="test")


async def at_once(_: float) -> None:
    """Wait for nothing: only the clock is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A server and its driver. `pulls` tells the commit that each landed as, in the order in which they were made."""

    server: GitLabServer | GiteaServer
    opened: Callable[..., GitLab | Gitea]
    comments: Callable[[int], list[str]]
    landed: Callable[[], list[str | None]]


def gitlab_lab() -> Lab:
    server = GitLabServer()
    project = Project(web="https://lab.test", path="group/sub/project")

    def landed() -> list[str | None]:
        found: list[str | None] = []
        for iid, item in server.requests_by_iid.items():
            said = [text for text in server.comments(iid, "merge_requests") if text.startswith("Landed")]
            in_text = said[0].partition("\n")[0].rstrip(".").split()[-1] if said else None
            found.append(item["merge_commit_sha"] or in_text if item["state"] != "opened" else None)
        return found

    return Lab(
        server=server,
        opened=lambda **filters: GitLab(
            project, TOKEN, filters=Filters(**filters), report_issue="1", transport=server, sleep=at_once
        ),
        comments=server.comments,
        landed=landed,
    )


def gitea_lab() -> Lab:
    server = GiteaServer()
    project = Project(web="https://git.test", path="org/project")
    return Lab(
        server=server,
        opened=lambda **filters: Gitea(
            project, TOKEN, filters=Filters(**filters), report_issue="1", transport=server, sleep=at_once
        ),
        comments=server.comments,
        landed=lambda: [one["merge_commit_sha"] for one in server.pulls.values()],
    )


def filled(lab: Lab) -> Lab:
    """Put in three issues: 1 is open, 2 waits for 1, 3 is closed."""
    server = lab.server
    server.add("First", "Do it.")
    server.add("Second")
    third = server.add("Third")
    if isinstance(server, GitLabServer):
        server.issues[third]["state"] = "closed"
        server.links.append((2, 1, "is_blocked_by"))
    else:
        server.items[third]["state"] = "closed"
        server.needs.append((2, 1))
    return lab
