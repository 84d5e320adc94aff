//! How long a hot key takes: 10,000 calls on one register by 100 clients, a fifth of them of
//! unknown outcome. The promise is 50 ms.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rusd_checker::model::cas_register::{CasOp, CasRegister};
use rusd_checker::model::register::{Register, RegisterOp};
use rusd_checker::search::{Calls, Engine, Model, Options, check};
use rusd_checker::synthetic::Dice;
use rusd_checker::synthetic_calls::{Load, Values, cas_register, register, with_an_old_read};

const HOT_KEY: Load = Load { clients: 100, calls: 10_000, unknown_per_mille: 200 };

fn hot_key(criterion: &mut Criterion) {
    let dice = &mut Dice::new(1);
    let mut group = criterion.benchmark_group("hot key");
    group.sample_size(20).throughput(Throughput::Elements(HOT_KEY.calls));
    let mut judge =
        |name: String, engine, is_valid: bool, run: &dyn Fn(&Options) -> &'static str| {
            let options = Options { engine, ..Options::default() };
            let expected = if is_valid { "linearizable" } else { "illegal" };
            group.bench_function(name, |bencher| {
                bencher.iter(|| assert_eq!(run(&options), expected));
            });
        };
    for (values, named) in
        [(Values::Unique, "unique"), (Values::Few(5), "five"), (Values::Few(100), "hundred")]
    {
        let calls = register(HOT_KEY, values, 1);
        let engines = [(Engine::Auto, "auto"), (Engine::Wgl, "wgl")];
        for (engine, by) in engines {
            let run = |options: &Options| verdict(&Register::default(), &calls, options);
            judge(format!("register, {named} values, {by}"), engine, true, &run);
        }
        let calls = cas_register(HOT_KEY, values, 1);
        let run = |options: &Options| verdict(&CasRegister::default(), &calls, options);
        judge(format!("cas register, {named} values"), Engine::Auto, true, &run);
    }
    let calls = register(HOT_KEY, Values::Unique, 1);
    let calls = with_an_old_read(&calls, |op| *op == RegisterOp::Read, dice);
    for (engine, by) in [(Engine::Auto, "auto"), (Engine::Wgl, "wgl")] {
        let run = |options: &Options| verdict(&Register::default(), &calls, options);
        judge(format!("register, an old read, {by}"), engine, false, &run);
    }
    let calls = cas_register(HOT_KEY, Values::Unique, 1);
    let calls = with_an_old_read(&calls, |op| *op == CasOp::Read, dice);
    let run = |options: &Options| verdict(&CasRegister::default(), &calls, options);
    judge("cas register, an old read".into(), Engine::Auto, false, &run);
    group.finish();
}

fn verdict<M>(initial: &M, calls: &Calls<M::Op, M::Ret>, options: &Options) -> &'static str
where
    M: Model + Sync,
    M::Op: Sync,
    M::Ret: Sync,
{
    check(initial, calls, options).verdict.name()
}

criterion_group!(benches, hot_key);
criterion_main!(benches);
