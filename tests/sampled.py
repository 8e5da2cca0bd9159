"""Families of cases that are too many for `make test`: it runs each n-th of them, `make faults` runs the others too."""

EACH = {
    "test_an_input_replaced_by_one_of_equal_size_and_older_time_is_noticed": 6,
    "test_a_damaged_input_blocks_nothing_once_it_is_mended": 6,
    "test_files_of_other_names_stay_whatever_is_run": 6,
    "test_outputs_without_a_record_are_refused_and_stay": 6,
    "test_no_network_is_used_and_nothing_is_written_but_the_outputs": 6,
    "test_another_tools_record_is_refused_and_nothing_of_it_changes": 4,
    "test_a_read_only_place_is_named_in_one_line": 4,
    "test_q4_an_entry_acts": 6,
    "test_a14_what_is_torn_or_deleted_is_mended_by_the_same_command": 7,
    "test_a14_rows_that_were_lost_are_not_taken_for_zeros_when_a_set_grows": 3,
    "test_the_pullback_and_its_gradients_are_autograds": 4,
    "test_what_is_written_is_read_back": 3,
    "test_a_disk_that_fills_while_writing_results_loses_nothing": 5,
    "test_S3_a_lost_or_damaged_shard_is_made_again": 8,
    "test_how_a_batch_is_worked_on_changes_no_more_than_rounding": 4,
    "test_the_numbers_are_those_of_the_search": 3,
    "test_batches_and_divisions_make_the_same_images": 2,
    "test_overwriting_starts_anew": 3,
    "test_extreme_blobs_are_searched_and_harm_no_other": 3,
    "test_every_option_acts_or_is_refused": 3,
    "test_distance_is_the_packages": 2,
    "test_every_container_gives_the_published_features": 2,
    "test_prefixes_and_containers": 2,
    "test_parts_of_a_batch_and_saved_memory_change_no_gradient": 3,
    "test_a_picture_of_nan_is_named_and_not_searched": 2,
    "test_t1_a_bad_step_changes_nothing": 3,
    "test_a_series_holds_what_each_checkpoint_alone_gives": 3,
    "test_predictors_and_correctors_sample_the_distribution": 3,
    "test_bounds_keep_their_promise": 2,
    "test_T13_odd_pictures_train_and_the_discriminator_sees_what_pil_makes_of_them": 2,
    "test_every_preset_is_found_again_from_its_file": 2,
    "test_latents_regenerate": 2,
    "test_state_dicts_load_in_every_wrapping": 2,
    "test_T32_blobs_agree_to_1e_6_in_any_batch_order_and_company": 2,
    "test_T30_several_at_once_have_the_published_list_index_in_front": 2,
    "test_psp_encoders_are_known_by_their_weights": 2,
    "test_T5_newest_checkpoints_stay_whatever_happened_before": 4,
    "test_more_steps_go_on_and_give_the_bytes_of_a_longer_run": 2,
    "test_another_value_of_what_shapes_results_is_named": 2,
    "test_T30_any_number_of_counterfactuals": 2,
    "test_a_state_of_other_values_is_refused": 3,
    "test_what_is_missing_from_a_finished_job_is_made_again": 3,
    "test_t10_batches_of_any_size": 3,
    "test_a_damaged_log_does_not_stop_an_extended_run": 2,
    "test_an_image_is_the_same_in_any_batch": 2,
    "test_statistics_in_a_tar_are_copied_under_their_last_name_alone": 3,
    "test_names_and_numbers_are_torchvisions": 2,
    "test_other_networks_latents_and_precisions_train": 3,
    "test_levels_that_no_network_knows_are_refused_at_once": 3,
    "test_t20_published_files_under_all_names": 3,
    "test_a18_distances_are_those_of_umap": 3,
    "test_a11_equal_runs_are_equal_where_an_image_cannot_be_read": 3,
    "test_nothing_in_an_exported_program_runs_but_operators": 2,
    "test_every_bound_calibrates": 2,
    "test_a5_bytes_are_made_as_by_the_samplers_origin_or_as_asked_for": 2,
    "test_workers_change_no_byte": 2,
    "test_wrong_input_in_a_process_of_its_own": 3,
    "test_imagenets_weights_start_the_body_alone": 2,
    "test_a9_a_gap_in_the_batches_is_refused": 3,
    "test_checkpoints_of_other_programs_serve_for_sampling": 3,
}


def left_out(items):
    """Return the tests of a collection that `make test` leaves out: all but each n-th case of a family above."""
    count, chosen = {}, []
    for item in items:
        name = getattr(item, "originalname", None)
        if name in EACH:
            place = count[item.path, name] = count.get((item.path, name), -1) + 1
            if place % EACH[name]:
                chosen.append(item)
    return chosen
