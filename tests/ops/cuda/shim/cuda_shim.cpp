// The scheduler behind cuda_shim.h: fibers, barriers, warp collectives, launch.

#include "cuda_shim.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <ucontext.h>
#include <vector>

// With SHIM_TSAN the kernels, but not this file, are built with -fsanitize=thread. Every fiber is then a thread to the
// sanitizer, ordered with others by barriers and __syncwarp alone, and it reports accesses that CUDA leaves unordered.
#ifdef SHIM_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace shim {

thread_local Fiber* current = nullptr;
thread_local dim3 block_size;
thread_local dim3 grid_size;

namespace {

struct Kernel {
    Invoke invoke;
    std::vector<int> sizes;
};
std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

enum State { READY, AT_BARRIER, AT_COLLECTIVE, DONE };

struct Thread : Fiber {
    State state = READY;
    bool started = false;
    int index = 0;
    Collective kind = BALLOT;
    unsigned mask = 0;
    uint64_t value = 0, result = 0;
    int argument = 0;
    ucontext_t context;
    jmp_buf resume;
    std::unique_ptr<char[]> stack;
    void* tsan = nullptr;
    bool kept = false;
};

constexpr std::size_t STACK = 64 * 1024;

struct Random {  // xorshift64*, seeded per worker
    uint64_t state;
    explicit Random(uint64_t seed) : state(seed * 0x9E3779B97F4A7C15ull + 0x2545F4914F6CDD1Dull) { next(); }
    uint64_t next() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return state * 0x2545F4914F6CDD1Dull;
    }
    unsigned below(unsigned n) { return unsigned((next() >> 32) * n >> 32); }
};

// Runs the blocks dealt to one operating system thread, one after the other.
struct Worker {
    Random random;
    const Kernel& kernel;
    void** arguments;
    bool shuffle;
    std::vector<std::unique_ptr<Thread>> threads;  // the first `size` of them make the block
    std::vector<Thread*> ready[32];  // one list a warp
    unsigned favoured = 0;           // the warp that runs ahead of the others for a while
    int size = 0, alive = 0, waiting = 0, votes = 0, last_votes = 0;
    std::string error;
    ucontext_t home_context;
    jmp_buf home;
    void* home_tsan = nullptr;

    Worker(uint64_t seed, const Kernel& k, void** a) : random(seed), kernel(k), arguments(a), shuffle(seed != 0) {}

    void switch_to(Thread* thread);
    void yield();
    void run_block(dim3 block);
    void make_ready(Thread* thread) {
        thread->state = READY;
        ready[thread->index / 32].push_back(thread);
    }
    Thread* pick();
    void leave_barrier();
    void try_collective(Thread* thread);
};
thread_local Worker* worker = nullptr;

#ifdef SHIM_TSAN
void acquire(void* p) { __tsan_acquire(p); }
void release(void* p) { __tsan_release(p); }

// To make a fiber takes the sanitizer most of a millisecond, so they are kept from launch to launch. It knows 8128 at a
// time: these, and all of the blocks that run side by side.
constexpr int FIBERS_KEPT = 3840, SIDE_BY_SIDE = 4;
std::atomic<int> fibers_kept{0};
#else
void acquire(void*) {}
void release(void*) {}
#endif

char launch_end;  // what every thread of a launch did comes before what follows the launch

// A thread of a block, from its first instruction to its last. Not inlined: its fiber goes on in other operating system
// threads, whose own `worker` and `current` are to be looked up anew.
[[gnu::noinline]] void run_thread() {
    Worker* w = worker;
    acquire(&w->home_tsan);  // what went before the launch comes before it
    w->kernel.invoke(w->arguments);
    release(&launch_end);
    static_cast<Thread*>(current)->state = DONE;
    w->yield();
}

void trampoline() {
    for (;;) run_thread();  // the next block's, or the next launch's
}

#ifdef SHIM_TSAN
// The sanitizer knows fibers; without the synchronising switch it reports races between threads of one block too.
void Worker::switch_to(Thread* thread) {
    current = thread;
    __tsan_switch_to_fiber(thread->tsan, __tsan_switch_to_fiber_no_sync);
    swapcontext(&home_context, &thread->context);
}
void Worker::yield() {
    Thread* self = static_cast<Thread*>(current);
    __tsan_switch_to_fiber(home_tsan, __tsan_switch_to_fiber_no_sync);
    swapcontext(&self->context, &home_context);
}
#else
// swapcontext costs two system calls a switch; after the first entry _setjmp and _longjmp do without.
void Worker::switch_to(Thread* thread) {
    current = thread;
    if (_setjmp(home) != 0) return;
    if (thread->started) _longjmp(thread->resume, 1);
    thread->started = true;
    setcontext(&thread->context);
}
void Worker::yield() {
    Thread* self = static_cast<Thread*>(current);
    if (_setjmp(self->resume) == 0) _longjmp(home, 1);
}
#endif

void Worker::leave_barrier() {
    last_votes = votes;
    votes = waiting = 0;
    for (int i = 0; i < size; ++i) make_ready(threads[i].get());
}

void Worker::try_collective(Thread* last) {
    const int warp = last->index / 32 * 32;
    for (int lane = 0; lane < 32; ++lane) {
        if (!(last->mask >> lane & 1)) continue;
        if (warp + lane >= size) {
            error = "a warp collective names a lane beyond the block";
            return;
        }
        const Thread& other = *threads[warp + lane];
        if (other.state != AT_COLLECTIVE) return;  // not all there yet; a lane that has left shows as a deadlock
        if (other.kind != last->kind || other.mask != last->mask) {
            error = "lanes of a warp met at different collectives or masks";
            return;
        }
    }
    unsigned votes_of_warp = 0;
    for (int lane = 0; lane < 32; ++lane)
        if (last->mask >> lane & 1 && threads[warp + lane]->value) votes_of_warp |= 1u << lane;
    for (int lane = 0; lane < 32; ++lane) {
        if (!(last->mask >> lane & 1)) continue;
        Thread* thread = threads[warp + lane].get();
        int source = lane;
        switch (thread->kind) {
            case SHUFFLE: source = thread->argument & 31; break;
            case SHUFFLE_UP: source = lane - thread->argument; break;
            case SHUFFLE_DOWN: source = lane + thread->argument; break;
            case SHUFFLE_XOR: source = lane ^ thread->argument; break;
            default: break;
        }
        if (source < 0 || source > 31) source = lane;
        if (!(last->mask >> source & 1)) {
            error = "a shuffle reads a lane outside its mask";
            return;
        }
        thread->result = thread->kind == BALLOT ? votes_of_warp : threads[warp + source]->value;
    }
    for (int lane = 0; lane < 32; ++lane)
        if (last->mask >> lane & 1) make_ready(threads[warp + lane].get());
}

// Shuffled, one warp is let run far ahead of the others now and then: faults between warps need that more than they need
// an even mixture. Null if no thread can run.
Thread* Worker::pick() {
    const unsigned warps = unsigned(size + 31) / 32;
    if (shuffle && random.below(64) == 0) favoured = random.below(warps);
    unsigned warp = !shuffle ? 0 : random.below(8) ? favoured : random.below(warps);
    for (unsigned i = 0; i < warps; ++i, warp = (warp + 1) % warps) {
        std::vector<Thread*>& list = ready[warp];
        if (list.empty()) continue;
        const unsigned at = shuffle ? random.below(unsigned(list.size())) : 0;
        Thread* thread = list[at];
        if (shuffle) {
            list[at] = list.back();
            list.pop_back();
        } else {
            list.erase(list.begin());
        }
        return thread;
    }
    return nullptr;
}

// A fiber at the start of trampoline(): one that is new, or that a fault has left in the middle of a kernel.
void begin(Thread* thread) {
    thread->started = false;
    getcontext(&thread->context);
    thread->context.uc_stack.ss_sp = thread->stack.get();
    thread->context.uc_stack.ss_size = STACK;
    thread->context.uc_link = nullptr;
    makecontext(&thread->context, trampoline, 0);
}

void Worker::run_block(dim3 block) {
    for (auto& list : ready) list.clear();
    waiting = votes = 0;
    alive = size;
    for (int i = 0; i < alive; ++i) {
        Thread* thread = threads[i].get();
        thread->index = i;
        thread->thread = {i % block_size.x, i / block_size.x % block_size.y, i / block_size.x / block_size.y};
        thread->block = block;
#ifdef SHIM_TSAN
        thread->started = false;  // fibers of the sanitizer may be others for every block
        if (thread->tsan == nullptr) thread->tsan = __tsan_create_fiber(0);
#endif
        if (!thread->started || thread->state != DONE) begin(thread);  // else it waits in trampoline()
        make_ready(thread);
    }
    while (alive > 0 && error.empty()) {
        Thread* thread = pick();
        if (thread == nullptr) {
            error = waiting ? "__syncthreads was not reached by all threads of a block"
                            : "a warp collective was not reached by all its lanes";
            break;
        }
        switch_to(thread);
        switch (thread->state) {
            case READY: make_ready(thread); break;
            case DONE: --alive; break;
            case AT_BARRIER:
                if (++waiting == size) leave_barrier();
                break;
            case AT_COLLECTIVE: try_collective(thread); break;
        }
    }
#ifdef SHIM_TSAN
    for (int i = 0; i < size; ++i) {
        Thread& thread = *threads[i];
        if (!thread.kept && error.empty()) thread.kept = fibers_kept.fetch_add(1) < FIBERS_KEPT;
        if (thread.kept && error.empty()) continue;
        __tsan_destroy_fiber(thread.tsan);
        thread.tsan = nullptr;
    }
#endif
}

}  // namespace

void barrier() { barrier_count(0); }

int barrier_count(int predicate) {
    Thread* self = static_cast<Thread*>(current);
    worker->votes += predicate != 0;
    self->state = AT_BARRIER;
    release(worker);
    worker->yield();
    acquire(worker);
    return worker->last_votes;
}

uint64_t collective(Collective kind, unsigned mask, uint64_t value, int argument) {
    Thread* self = static_cast<Thread*>(current);
    self->kind = kind;
    self->mask = mask;
    self->value = value;
    self->argument = argument;
    self->state = AT_COLLECTIVE;
    // All collectives here name the full warp or pass memory only through their results, as __shfl_sync and
    // __ballot_sync do; only __syncwarp orders memory.
    char* warp = reinterpret_cast<char*>(&worker->threads) + self->index / 32 % 8;
    if (kind == SYNC_WARP) release(warp);
    worker->yield();
    if (kind == SYNC_WARP) acquire(warp);
    return self->result;
}

void may_yield() {
    if (!worker->shuffle) return;
    if (worker->random.below(256) == 0) std::this_thread::yield();  // lets blocks of other workers in between
    if (worker->random.below(4) == 0) {
        static_cast<Thread*>(current)->state = READY;
        worker->yield();
    }
}

Registration::Registration(const char* name, Invoke invoke, int count, const int* sizes) {
    kernels()[name] = {invoke, std::vector<int>(sizes, sizes + count)};
}

}  // namespace shim

using namespace shim;

extern "C" int shim_parameters(const char* name, int* sizes, int room) {
    const auto found = kernels().find(name);
    if (found == kernels().end()) return -1;
    const auto& all = found->second.sizes;
    for (int i = 0; i < int(all.size()) && i < room; ++i) sizes[i] = all[i];
    return int(all.size());
}

// Seed 0 runs threads and blocks in ascending order without preemption; any other seed shuffles. Returns 0, or -1 with
// the reason in `message`.
extern "C" int shim_launch(const char* name, const unsigned* grid, const unsigned* block, void** arguments,
                           unsigned long long seed, int workers, char* message, int room) {
    static std::mutex one_launch;
    std::lock_guard<std::mutex> lock(one_launch);
    const auto found = kernels().find(name);
    if (found == kernels().end()) {
        std::snprintf(message, room, "no kernel %s", name);
        return -1;
    }
    const dim3 grid_dim{grid[0], grid[1], grid[2]}, block_dim{block[0], block[1], block[2]};
    const unsigned blocks = grid[0] * grid[1] * grid[2], size = block[0] * block[1] * block[2];
    if (blocks == 0 || size == 0 || size > 1024 || grid[1] > 65535 || grid[2] > 65535) {
        std::snprintf(message, room, "%s: invalid launch configuration", name);
        return -1;
    }
    std::vector<unsigned> order(blocks);
    for (unsigned i = 0; i < blocks; ++i) order[i] = i;
    if (seed != 0) {
        Random random(seed);
        for (unsigned i = blocks; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    }
    static std::vector<std::vector<std::unique_ptr<Thread>>> pools;  // stacks are kept from launch to launch
#ifdef SHIM_TSAN
    if (blocks > 64) {
        std::snprintf(message, room, "%s: too many blocks to look for races", name);
        return -1;
    }
    workers = int(blocks);  // blocks that share no thread are not ordered by it
#endif
    workers = int(std::min<unsigned>(unsigned(std::max(workers, 1)), blocks));
    if (int(pools.size()) < workers) pools.resize(workers);
    std::vector<std::string> errors(workers);
    auto work = [&](int i) {
        Worker self(seed == 0 ? 0 : seed + 7919ull * unsigned(i + 1), found->second, arguments);
        worker = &self;
        block_size = block_dim;
        grid_size = grid_dim;
#ifdef SHIM_TSAN
        self.home_tsan = __tsan_get_current_fiber();
        release(&self.home_tsan);
#endif
        self.threads.swap(pools[i]);
        self.size = int(size);
        while (self.threads.size() < size) {
            self.threads.push_back(std::make_unique<Thread>());
            self.threads.back()->stack = std::make_unique_for_overwrite<char[]>(STACK);
        }
        for (unsigned at = unsigned(i); self.error.empty() && at < blocks; at += unsigned(workers)) {
            const unsigned b = order[at];
            self.run_block({b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1]});
        }
        errors[i] = self.error;
        self.threads.swap(pools[i]);
        worker = nullptr;
    };
    // New threads for every launch: what an earlier one left in shared memory must not be found there.
    std::vector<std::thread> team;
    for (int i = 0; i < workers; ++i) {
#ifdef SHIM_TSAN
        if (i >= SIDE_BY_SIDE) team[i - SIDE_BY_SIDE].join();
#endif
        team.emplace_back(work, i);
    }
    for (auto& thread : team)
        if (thread.joinable()) thread.join();
    acquire(&launch_end);
    for (const auto& error : errors) {
        if (error.empty()) continue;
        std::snprintf(message, room, "%s: %s", name, error.c_str());
        return -1;
    }
    return 0;
}
