#!/usr/bin/env bash
# A sweep on a real Slurm: a cluster of one node is started from Debian's packages, an array runs the
# parts, one task is killed and requeued, the parts are merged, and the file is compared with that of a
# single process. Exit code 77 where Slurm cannot be started.
#
#   slurm_test.sh FP8SCOPE SOURCE_FOLDER
set -u
fp8scope=$(realpath "$1") source=$(realpath "$2")

skip() {
  echo "skipped: $*"
  exit 77
}
for tool in munged slurmctld slurmd sbatch scontrol squeue; do
  command -v "$tool" >/dev/null || [[ -x /usr/sbin/$tool ]] || skip "$tool is not installed (apt-get install slurm-wlm munge)"
done
((EUID == 0)) || skip "only root can start a Slurm of its own"
PATH=$PATH:/usr/sbin

work=$(mktemp -d /tmp/fp8scope-slurm-XXXXXX)
chmod 755 "$work"
pids=()
cleanup() {
  scancel --quiet --me 2>/dev/null
  sleep 0.5
  ((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null
  wait 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT

fail() {
  echo "FAILED: $*"
  for log in "$work"/*.log "$work"/*.out; do
    [[ -s $log ]] && { echo "--- $log"; tail -25 "$log"; }
  done
  exit 1
}
wait_for() {  # SECONDS COMMAND...
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < until)) || return 1
    sleep 0.05
  done
}

# ---- a cluster of one node, with ports and folders of its own -----------------------------------
host=$(hostname -s)
port=$((20000 + RANDOM % 20000))
mkdir -p "$work"/{state,spool,munge}
dd if=/dev/urandom bs=1 count=1024 of="$work/munge/key" status=none
chmod 700 "$work/munge"; chmod 400 "$work/munge/key"
munged --force --foreground --num-threads=2 --key-file="$work/munge/key" --socket="$work/munge/socket" \
  --pid-file="$work/munge/pid" --seed-file="$work/munge/seed" --log-file="$work/munge.log" --syslog >/dev/null 2>&1 &
pids+=($!)
chmod 755 "$work/munge"
cpus=$(nproc)
cat >"$work/slurm.conf" <<CONF
ClusterName=fp8scope
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket,cred_expire=10
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
JobRequeue=1
InactiveLimit=0
KillWait=5
MinJobAge=300
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=1000 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
CONF
export SLURM_CONF=$work/slurm.conf
wait_for 10 test -S "$work/munge/socket" || skip "munged does not start: $(tail -1 "$work/munge.log" 2>/dev/null)"
slurmctld -D -c >"$work/ctld.out" 2>&1 &
pids+=($!)
slurmd -D >"$work/slurmd.out" 2>&1 &
pids+=($!)
node_ready() { sinfo -h -o %T 2>/dev/null | grep -Eq 'idle|mixed'; }
if ! wait_for 30 node_ready; then
  cat "$work"/slurmctld.log "$work"/slurmd.log 2>/dev/null | grep -iE 'error|fatal' | tail -5
  skip "a Slurm of one node does not start here"
fi

# ---- the sweep ----------------------------------------------------------------------------------
cat >"$work/spec.toml" <<SPEC
[synthetic]
layers = 16
rows = 64
cols = 160
outputs = 96
[grid]
recipe = ["te_delayed", "te_block", "dsv3"]
amax_history_len = "1-40"
margin = "0-3"
SPEC
"$fp8scope" sweep "$work/spec.toml" -o "$work/single" --reproducible >/dev/null || fail "the single process"
"$fp8scope" sweep "$work/spec.toml" -o "$work/run" --plan-only || fail "--plan-only"

export FP8SCOPE=$fp8scope
sbatch_options=(--parsable --chdir="$work" --output="$work/task-%a.out" --time=10)
# A held task and three that run.
job=$(sbatch "${sbatch_options[@]}" --array=0-3 "$source/experiments/slurm/sweep.sbatch" "$work/spec.toml" "$work/run" --json) ||
  fail "sbatch"
has_record() { [[ -f $work/run/journal-1-of-4.bin ]] && (($(stat -c %s "$work/run/journal-1-of-4.bin") > 76)); }
wait_for 120 has_record || fail "task 1 does not start"
before=$(stat -c %s "$work/run/journal-1-of-4.bin")
# The machine of a task goes down: kill -9 without a word, then the task is started anew.
pid=$(awk '$1 == "pid" {print $2}' "$work/run/journal-1-of-4.lock")
if [[ -n $pid ]] && kill -9 "$pid" 2>/dev/null; then
  echo "task 1 (process $pid) killed after $before bytes of its journal"
else
  fail "task 1 was over before it could be killed"
fi
is_over() { ! squeue -h -j "$job" -t RUNNING,PENDING,COMPLETING 2>/dev/null | grep -q .; }
wait_for 5 false || true
scontrol requeue "${job}_1" || fail "scontrol requeue"
wait_for 300 is_over || fail "the array does not come to an end"
grep -q '"event":"start"' "$work/task-1.out" || fail "task 1 wrote no events"
starts=$(grep -c '"event":"start"' "$work/task-1.out")
((starts == 2)) || fail "task 1 started $starts times, not twice"
ls "$work/run"
"$fp8scope" merge "$work/run" --reproducible | tail -1 || fail "merge"
a=$(sha256sum <"$work/single/results.h5") b=$(sha256sum <"$work/run/results.h5")
[[ $a == "$b" ]] || fail "the file of the array differs from that of a single process"
echo "Slurm $(sinfo --version), array of 4, one task killed and requeued: sha256 ${a%% *} as of a single process"
