process INTERPOLATE_MISSING_SLICE {
    tag "${meta.id}"
    label 'process_medium'
    label 'per_slice'

    input:
    tuple val(meta), path(before, stageAs: 'before/*'), path(before_manifest, stageAs: 'before/*'), path(after, stageAs: 'after/*'), path(after_manifest, stageAs: 'after/*')
    val publish
    val flags

    output:
    tuple val(meta), path("${place}slice_${meta.id}_interpolated.ome.zarr"), path("${place}slice_${meta.id}_interpolated.ome.zarr.manifest.json"), emit: volume, optional: true
    tuple val(meta), path("published/interpolate_missing_slice/slice_${meta.id}_manifest.csv"), emit: manifest
    path 'published/interpolate_missing_slice/*.{json,png}', emit: diagnostics
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    place = publish ? 'published/interpolate_missing_slice/' : ''
    def out = "published/interpolate_missing_slice/slice_${meta.id}"
    """
    interpolate_missing_slice.py ${flags} --before ${before} --after ${after} --slice ${meta.slice} --output ${place}slice_${meta.id}_interpolated.ome.zarr --manifest ${out}_manifest.csv --diagnostics ${out}_diagnostics.json --preview ${out}_preview.png
    """

    stub:
    place = publish ? 'published/interpolate_missing_slice/' : ''
    """
    stub.sh ${place}slice_${meta.id}_interpolated.ome.zarr/ ${place}slice_${meta.id}_interpolated.ome.zarr.manifest.json published/interpolate_missing_slice/slice_${meta.id}_manifest.csv published/interpolate_missing_slice/slice_${meta.id}_diagnostics.json interpolate_missing_slice.${meta.slice}.provenance.json
    """
}
