"""python3 -m fp8scope report RESULTS.h5 -o report.html | import-te FOLDER -o trace.h5"""
import argparse
import sys


def main():
    parser = argparse.ArgumentParser(prog="python3 -m fp8scope", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("report", help="one HTML file that shows a result file", allow_abbrev=False)
    one.add_argument("results", help="result file, or the folder of a sweep")
    one.add_argument("-o", "--output", required=True, help="HTML file to write")
    one.add_argument("--title", help="heading; that of the file unless given")
    one = commands.add_parser("import-te", help="a trace from Transformer Engine's DumpTensors", allow_abbrev=False)
    one.add_argument("folder", help="the folder that holds tensor_dumps, or it itself")
    one.add_argument("-o", "--output", required=True, help="trace to write")
    one.add_argument("--rank", type=int, default=0, help="rank to read, default 0")
    one.add_argument("--trust", action="store_true", help="load any pickle, which may run code")
    args = parser.parse_args()
    if args.command == "report":
        from .page import report
        print(report(args.results, args.output, title=args.title))
    else:
        from .te_dump import convert
        left_out = convert(args.folder, args.output, args.rank, args.trust)
        if left_out:
            print(f"left out, not dumped at every step: {', '.join(left_out)}", file=sys.stderr)
        print(args.output)


if __name__ == "__main__":
    try:
        main()
    except ImportError as error:
        sys.exit(f"fp8scope: {error}; see python/README.md for what each command needs")
    except (ValueError, KeyError) as error:
        print(f"fp8scope: {error.args[0] if error.args else error}", file=sys.stderr)
        sys.exit(3)
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"fp8scope: {where}", file=sys.stderr)
        sys.exit(4)
