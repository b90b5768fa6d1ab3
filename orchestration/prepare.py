"""Prepare a data set on a Ray cluster: python -m orchestration.prepare agedb --source DIR … --address auto

The same command as `python -m data.prepare`, with `--address`. It lies here because `data` knows neither Ray
nor this package: it takes whatever maps a function over items, and this hands it Ray Data's.
Every node must see the source under the same path; the data set is written by the node that runs this.
"""

from __future__ import annotations

from orchestration import cli


def main() -> int:
    """Prepare what the arguments name, over the cluster at --address or this machine's cores."""
    from data import prepare, prepare_arguments

    parser = prepare_arguments.parser("python -m orchestration.prepare")
    parser.add_argument("--address", metavar="ADDRESS", help="spread over this Ray cluster (auto, HOST:PORT)")
    arguments = parser.parse_args()

    address = cli.address_of(arguments)
    if address is None:
        prepare.run(arguments)
        return cli.DONE
    from orchestration import cluster
    from orchestration.ray_data import RayData

    with cluster.session(address, dashboard=False):
        prepare.run(arguments, RayData())
    return cli.DONE


if __name__ == "__main__":
    cli.run(main)
