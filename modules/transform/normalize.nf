process NORMALIZE {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'
    label 'gpu'

    input:
    tuple val(meta), path(volume, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    val flags

    output:
    tuple val(meta), path("published/normalize/slice_${meta.id}_normalize.ome.zarr"), path("published/normalize/slice_${meta.id}_normalize.ome.zarr.manifest.json"), emit: volume, optional: true
    tuple val(meta), path("${meta.id}_normalize.npz"), emit: notes, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    normalize.py ${flags} --volume ${volume} --slice ${meta.slice} --output published/normalize/slice_${meta.id}_normalize.ome.zarr --notes ${meta.id}_normalize.npz
    """

    stub:
    """
    stub.sh published/normalize/slice_${meta.id}_normalize.ome.zarr/ published/normalize/slice_${meta.id}_normalize.ome.zarr.manifest.json ${meta.id}_normalize.npz normalize.${meta.slice}.provenance.json
    """
}
