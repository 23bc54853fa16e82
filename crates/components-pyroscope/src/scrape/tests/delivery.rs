//! What happens to profiles while sinks, targets and arguments change.

use component::Rejected;

use super::*;

fn full() -> Result<(), Rejected> {
    Err(Rejected::Retryable("full".into()))
}

#[tokio::test(start_paused = true)]
async fn a_difference_that_was_not_taken_is_part_of_the_next_one() {
    let bench = Bench::start(&only(&["mutex"]), waiting()).await;
    // 1, 4, 9, 16, 25 …: the second scrape brings 3.
    assert_eq!(bench.totals().await, [3, 30]);
    bench.sink.answer(full());
    while bench.program.asked().len() < 4 {
        pass(1).await;
    }
    bench.sink.answer(Ok(()));
    // What the third and the fourth scrape have brought.
    assert_eq!(bench.totals().await, [12, 120]);
    assert_eq!(bench.totals().await, [9, 90]);
    assert_eq!(bench.metric("pyroscope_scrape_profiles_dropped_total"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn another_profile_is_offered_until_the_next_one_is_there_and_is_counted_then() {
    let mut scrape = 0;
    let bench = Bench::start(&only(&["process_cpu"]), move |_| {
        scrape += 1;
        Answer::After(Duration::from_secs(14), waited(scrape))
    })
    .await;
    assert_eq!(bench.totals().await, [1, 10]);
    bench.sink.answer(full());
    while bench.program.asked().len() < 4 {
        pass(1).await;
    }
    // The fourth is being taken: the third is on offer all the while.
    pass(10).await;
    bench.sink.answer(Ok(()));
    assert_eq!(bench.totals().await, [3, 30]);
    assert_eq!(bench.totals().await, [4, 40]);
    let text = bench.harness.services.metrics.text();
    let line =
        text.lines().find(|l| l.starts_with("pyroscope_scrape_profiles_dropped_total")).expect("counted");
    assert!(line.contains("reason=\"timeout\"") && line.ends_with(" 1"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn what_sinks_refuse_for_good_is_counted_and_not_sent_again() {
    for (answer, reason) in [(Rejected::Permanent("no".into()), "permanent"), (Rejected::Stopped, "stopped")]
    {
        let bench = Bench::start(&only(&["mutex"]), waiting()).await;
        bench.sink.answer(Err(answer));
        while bench.metric("pyroscope_scrape_profiles_dropped_total") < 1.0 {
            pass(1).await;
        }
        let line = format!("reason=\"{reason}\"}} 1");
        assert!(bench.harness.services.metrics.text().contains(&line), "{reason}");
        bench.sink.answer(Ok(()));
        assert_eq!(bench.totals().await, [5, 50], "the second scrape's difference was refused");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_goes_while_its_profile_is_taken_still_delivers_it() {
    let bench =
        Bench::start(&only(&["process_cpu"]), |_| Answer::After(Duration::from_secs(14), waited(1))).await;
    while bench.program.asked().is_empty() {
        pass(1).await;
    }
    bench.harness.update(&config("", &only(&["process_cpu"]))).await.expect("updated");
    assert_eq!(bench.totals().await, [1, 10]);
    pass(120).await;
    assert!(bench.sink.take().is_empty() && bench.program.asked().len() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_profile_on_its_way_outlives_its_target_by_more_than_its_memory() {
    let bench = Bench::start(&only(&["mutex"]), waiting()).await;
    bench.sink.answer(full());
    while bench.program.asked().len() < 2 {
        pass(1).await;
    }
    bench.harness.update(&config("", &only(&["mutex"]))).await.expect("updated");
    pass(300).await;
    bench.sink.answer(Ok(()));
    assert_eq!(bench.totals().await, [3, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_in_time_goes_on_where_it_was() {
    let bench = Bench::start(&only(&["mutex"]), waiting()).await;
    assert_eq!(bench.totals().await, [3, 30]);
    bench.harness.update(&config("", &only(&["mutex"]))).await.expect("updated");
    pass(20).await;
    bench.harness.update(&config(TARGET, &only(&["mutex"]))).await.expect("updated");
    assert_eq!(bench.totals().await, [5, 50]);
    bench.harness.update(&config("", &only(&["mutex"]))).await.expect("updated");
    pass(60).await;
    let asked = bench.program.asked().len();
    bench.harness.update(&config(TARGET, &only(&["mutex"]))).await.expect("updated");
    assert_eq!(bench.totals().await, [9, 90]);
    assert_eq!(bench.program.asked().len(), asked + 2, "it was forgotten: the first is remembered");
}

#[tokio::test(start_paused = true)]
async fn new_arguments_lose_nothing_of_what_is_remembered() {
    let bench = Bench::start(&only(&["mutex"]), waiting()).await;
    assert_eq!(bench.totals().await, [3, 30]);
    let extra =
        format!("scrape_timeout = \"9s\"\nhttp_headers = {{\"X-A\" = [\"b\"]}}\n{}", only(&["mutex"]));
    bench.harness.update(&config(TARGET, &extra)).await.expect("updated");
    assert_eq!(bench.totals().await, [5, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_receivers_is_in_force_with_the_next_profile() {
    let (one, two) = (Sink::<Profiles>::new(), Sink::<Profiles>::new());
    let services = Services::for_tests("unused");
    services.handlers.set_main(Arc::new(Program::new(waiting())));
    let names = Names::default().with("one", one.value()).with("two", two.value());
    let harness = Harness::new(DEFINITION, names, services);
    let body = |sink: &str| format!("targets = [{TARGET}]\nforward_to = [{sink}]\n{}", only(&["mutex"]));
    harness.update(&body("one")).await.expect("valid");
    harness.node.start();
    assert_eq!(totals(&one.wait(1).await[0]), [3, 30]);
    harness.update(&body("two")).await.expect("valid");
    assert_eq!(totals(&two.wait(1).await[0]), [5, 50]);
    assert!(one.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_a_little_for_what_is_on_its_way_and_not_for_targets() {
    let bench = Bench::start(&only(&["mutex", "process_cpu"]), |path| match path {
        "/debug/pprof/mutex" => Answer::Page(200, waited(1)),
        _ => Answer::Hang,
    })
    .await;
    while bench.program.asked().len() < 2 {
        pass(1).await;
    }
    let asked = tokio::time::Instant::now();
    bench.harness.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(1), "nothing is on its way: {:?}", asked.elapsed());

    let waiting_for_room = || async {
        let bench = Bench::start(&only(&["goroutine"]), |_| Answer::Page(200, waited(1))).await;
        bench.sink.answer(full());
        while bench.program.asked().is_empty() {
            pass(1).await;
        }
        bench
    };
    let bench = waiting_for_room().await;
    let asked = tokio::time::Instant::now();
    bench.harness.stop().await;
    assert_eq!(asked.elapsed().as_secs(), 5, "it is given up");

    let bench = waiting_for_room().await;
    let room = async {
        pass(3).await;
        bench.sink.answer(Ok(()));
    };
    tokio::join!(bench.harness.stop(), room);
    assert_eq!(bench.totals().await, [1, 10]);
}
