"""Generates gen/ from protos/: messages, gRPC stubs and their types.

The constraints in our protos come from buf/validate/validate.proto, which no wheel has as a file.
Its descriptor is inside protovalidate: it is written out as a descriptor set that protoc reads too.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GEN = ROOT / "gen"
VALIDATE = "buf/validate/validate.proto"


class ProtocFailedError(Exception):
    """The compiler refused a proto; its own message is already on standard error."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0 done or equal, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Generate gen/ from protos/.")
    parser.add_argument(
        "packages", nargs="*", help="only these, for example guerdon.feed.v1 (default: all)"
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing, fail when gen/ is out of date"
    )
    parser.add_argument(
        "--image", type=Path, help="write the descriptor image that buf reads, and nothing else"
    )
    options = parser.parse_args(arguments)
    try:
        if options.image:
            write_image(options.image)
            return 0
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "gen"
            generate(made, options.packages)
            scopes = [package.replace(".", "/") for package in options.packages] or [
                "buf",
                "guerdon",
            ]
            stale = differences(made, scopes)
            if not options.check:
                for name in stale:
                    update(made, name)
    except ProtocFailedError:
        return 1
    for name in stale:
        print(f"{'out of date' if options.check else 'written'}: gen/{name}")
    if options.check and stale:
        print("run `make protos` and commit gen/", file=sys.stderr)
    return 1 if options.check and stale else 0


def generate(target: Path, packages: list[str]) -> None:
    """Writes the modules of the given packages (none: all of them) under target."""
    target.mkdir(parents=True)
    protos = sources(packages)
    protoc(
        *(f"--{plugin}_out={target}" for plugin in ("python", "grpc_python", "mypy", "mypy_grpc")),
        "--mypy_opt=quiet",
        "--mypy_grpc_opt=quiet",
        *protos,
    )
    # The modules above import buf.validate.validate_pb2, which comes from nowhere else.
    protoc(f"--python_out={target}", f"--mypy_out={target}", "--mypy_opt=quiet", VALIDATE)
    for module in protos:
        drop_empty_stubs(target, module)
        for folder in Path(module).parents[:-1]:
            (target / folder / "__init__.py").touch()


def drop_empty_stubs(target: Path, proto: str) -> None:
    """Removes the gRPC modules of a proto without a service: they hold nothing."""
    if "\nservice " not in (PROTOS / proto).read_text(encoding="utf-8"):
        for suffix in ("py", "pyi"):
            (target / proto).with_name(f"{Path(proto).stem}_pb2_grpc.{suffix}").unlink(
                missing_ok=True
            )


def write_image(path: Path) -> None:
    """Writes every proto with its imports and comments as one descriptor set: an image to buf."""
    path.parent.mkdir(parents=True, exist_ok=True)
    protoc(
        f"--descriptor_set_out={path}", "--include_imports", "--include_source_info", *sources([])
    )


def sources(packages: list[str]) -> list[str]:
    """Lists the protos of the packages (none: all), sorted, as paths below protos/."""
    found = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
    if packages:
        folders = {package.replace(".", "/") for package in packages}
        found = [name for name in found if Path(name).parent.as_posix() in folders]
    if not found:
        print(f"no protos of {', '.join(packages) or 'any package'} below protos/", file=sys.stderr)
        raise ProtocFailedError
    return found


def protoc(*arguments: str) -> None:
    """Runs the protoc of grpcio-tools with this environment's plugins; raises ProtocFailedError."""
    # google/type and google/rpc are .proto files inside the wheel of googleapis-common-protos.
    common = metadata.distribution("googleapis-common-protos").locate_file("")
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), environment.get("PATH", "")]
    )
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder) / "validate.binpb"
        descriptors.write_bytes(validate_descriptors())
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            f"--descriptor_set_in={descriptors}",
            f"-I{PROTOS}",
            f"-I{common}",
            *arguments,
        ]
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            raise ProtocFailedError


def validate_descriptors() -> bytes:
    """Returns a serialized FileDescriptorSet of buf/validate/validate.proto and what it imports."""
    from google.protobuf import descriptor_pb2
    from protovalidate._gen.buf.validate import validate_pb

    validate = validate_pb.desc()
    files = descriptor_pb2.FileDescriptorSet()
    for file in (*validate.dependencies, validate):
        files.file.add().ParseFromString(file.proto.to_binary())
    return files.SerializeToString(deterministic=True)


def differences(made: Path, scopes: list[str]) -> list[str]:
    """Lists the files that gen/ lacks, has otherwise or, below the scopes, has too many."""
    names = set(files_below(made, ["."])) | set(files_below(GEN, scopes))
    return sorted(name for name in names if not same(made / name, GEN / name))


def files_below(root: Path, scopes: list[str]) -> list[str]:
    """Lists the files of root below the scopes, compiled Python aside."""
    found = [path for scope in scopes for path in (root / scope).rglob("*") if path.is_file()]
    return [path.relative_to(root).as_posix() for path in found if path.suffix != ".pyc"]


def same(one: Path, other: Path) -> bool:
    """Tells whether both files exist with equal contents."""
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def update(made: Path, name: str) -> None:
    """Brings one file of gen/ to what was made: copied whole, or removed."""
    target = GEN / name
    if not (made / name).is_file():
        target.unlink()
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed, so that a test that imports meanwhile never reads half a module.
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(made / name, partial)
    partial.replace(target)


if __name__ == "__main__":
    sys.exit(main())
