// One stack -> the subject's volume with its levels, as one file, and its pictures. A part of `reconstruct`.

include { allInOrder ; metasOf } from './inputs'
include { PLAN_LEVELS } from '../modules/serving/plan_levels'
include { MAKE_LEVELS } from '../modules/serving/make_levels'
include { PUBLISH_VOLUME } from '../modules/serving/publish_volume'
include { ZIP_VOLUME } from '../modules/serving/zip_volume'
include { EXPORT_NIFTI } from '../modules/serving/export_nifti'
include { VOLUME_PREVIEW } from '../modules/serving/volume_preview'

workflow SUBJECT {
    take:
    stack // [store, manifest], a value channel
    plan // where the slices lie in it, a value channel
    subject // its name
    options // map of checked parameters

    main:
    PLAN_LEVELS(stack, options.flags.plan_levels)
    MAKE_LEVELS(stack, PLAN_LEVELS.out.blocks.flatMap { list -> metasOf(list) }, options.flags.make_levels)
    // A value channel, also where nothing was divided.
    parts = allInOrder(MAKE_LEVELS.out.levels).map { all -> [all.collect { one -> one[1] }, all.collect { one -> one[2] }] }
    PUBLISH_VOLUME(subject, stack, parts, options.flags.publish_volume)
    volume = PUBLISH_VOLUME.out.volume
    if (options.zip_volume) {
        ZIP_VOLUME(volume, options.flags.zip_volume)
    }
    if (options.nifti) {
        EXPORT_NIFTI(volume.map { store, manifest -> ['stack', subject, store, manifest] }, options.flags.export_nifti)
    }
    VOLUME_PREVIEW(subject, volume, plan, options.flags.volume_preview)
    pictures = VOLUME_PREVIEW.out.pictures

    emit:
    volume // [store, manifest]
    pictures
}
