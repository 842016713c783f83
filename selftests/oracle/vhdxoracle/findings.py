# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with a container: findings, and the errors a driver owes for them."""

from dataclasses import asdict, dataclass

NOT_VHDX = "EMEDIUMTYPE"
CORRUPT = "EUCLEAN"
UNSUPPORTED = "EOPNOTSUPP"

FATAL = "fatal"      # the container must not be attached
ERROR = "error"      # breaks the format, but only a block or a copy is lost
WARNING = "warning"  # legal or harmless, but not as it should be written
INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One fact about one structure at one offset of the container."""
    severity: str
    structure: str
    offset: int
    message: str
    errno: str = CORRUPT

    def __str__(self):
        return f"{self.severity}: {self.structure} at {self.offset:#x}: {self.message}"

    def as_dict(self):
        return asdict(self)


class VhdxError(Exception):
    """The container (or the part asked for) cannot be used."""

    def __init__(self, finding, path=None):
        self.finding = finding
        self.path = path
        super().__init__(f"{path}: {finding}" if path else str(finding))

    @property
    def errno(self):
        return self.finding.errno


class Report:
    """Collects findings; a stage ends with stop_if_fatal()."""

    def __init__(self, path=None):
        self.path = path
        self.findings = []

    def add(self, severity, structure, offset, message, errno=CORRUPT):
        self.findings.append(Finding(severity, structure, offset, message, errno))

    def fatal(self, structure, offset, message, errno=CORRUPT):
        self.add(FATAL, structure, offset, message, errno)

    def error(self, structure, offset, message):
        self.add(ERROR, structure, offset, message)

    def warning(self, structure, offset, message):
        self.add(WARNING, structure, offset, message)

    def info(self, structure, offset, message):
        self.add(INFO, structure, offset, message)

    def stop_if_fatal(self):
        for finding in self.findings:
            if finding.severity == FATAL:
                raise VhdxError(finding, self.path)

    def stop(self, structure, offset, message, errno=CORRUPT):
        """A fatal finding that leaves nothing to go on with."""
        self.fatal(structure, offset, message, errno)
        raise VhdxError(self.findings[-1], self.path)

    def at(self, *severities):
        return [f for f in self.findings if f.severity in severities]
