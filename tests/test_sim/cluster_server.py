"""A cluster for tests: prints its scheduler's address, its workers' addresses and process ids, and ends with its standard input."""

import json
import sys
import warnings


def main() -> None:
    warnings.simplefilter("ignore")
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=int(sys.argv[1]), threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs="CRITICAL"
    ) as cluster:
        workers = [nanny.process.pid for nanny in cluster.workers.values()]
        addresses = [nanny.worker_address for nanny in cluster.workers.values()]
        print(json.dumps({"address": cluster.scheduler_address, "addresses": addresses, "workers": workers}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
